// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func urls(components []cdx.Component) []string {
	var found []string
	for _, component := range components {
		found = append(found, component.PackageURL)
	}
	return found
}

func TestWhatAFileSaysIsInAnImage(t *testing.T) {
	for name, file := range map[string]struct {
		path, text string
		want       []string
	}{
		"a Debian package, with a version that is encoded": {
			"var/lib/dpkg/status.d/libssl3t64", "Package: libssl3t64\nSource: openssl\nVersion: 1:3.6.5+b1~x\nArchitecture: amd64\nDescription: a\n Version: 0\n",
			[]string{"pkg:deb/debian/libssl3t64@1%3A3.6.5%2Bb1~x?arch=amd64"},
		},
		"a list of checksums beside it": {"var/lib/dpkg/status.d/libssl3t64.md5sums", "0123  usr/lib/libssl.so\n", nil},
		"an npm package":                {"app/node_modules/ws/package.json", `{"name":"ws","version":"8.1.0"}`, []string{"pkg:npm/ws@8.1.0"}},
		"a scoped npm package":          {"app/node_modules/@prisma/client/package.json", `{"name":"@prisma/client","version":"6.19.3"}`, []string{"pkg:npm/%40prisma/client@6.19.3"}},
		"a folder inside of a package":  {"app/node_modules/ws/esm/package.json", `{"name":"esm","version":"1.0.0"}`, nil},
		"a script":                      {"usr/bin/script", "#!/bin/sh\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := inFile(&tar.Header{Name: file.path, Mode: 0o755}, strings.NewReader(file.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(file.want, urls(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProgramTellsItsModules(t *testing.T) {
	self := filepath.Join(t.TempDir(), "release")
	if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", self, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	list, err := OfProgram(self, "release", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(urls(*list.Components), "\n")
	for _, want := range []string{"pkg:golang/github.com/google/go-containerregistry@v", "pkg:golang/stdlib@1."} {
		if !strings.Contains(found, want) {
			t.Errorf("%s is not among\n%s", want, found)
		}
	}
	first, second := filepath.Join(t.TempDir(), "bom"), filepath.Join(t.TempDir(), "bom")
	for _, file := range []string{first, second} {
		if err := Write(file, list); err != nil {
			t.Fatal(err)
		}
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("two lists of one program differ: %v %v", errA, errB)
	}
}

func TestAnImageIsNamedByItsDigest(t *testing.T) {
	layer := static.NewLayer(packed(t, "var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2026a-1\nArchitecture: all\n"), types.OCIUncompressedLayer)
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ofImage(image, "pooler", "1.2.3", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want := "pkg:oci/pooler@" + strings.Replace(digest.String(), ":", "%3A", 1) + "?arch=arm64"
	if got := list.Metadata.Component.PackageURL; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if diff := cmp.Diff([]string{"pkg:deb/debian/tzdata@2026a-1?arch=all"}, urls(*list.Components)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// packed is a tar archive of one file.
func packed(t *testing.T, name, text string) []byte {
	t.Helper()
	var archive bytes.Buffer
	files := tar.NewWriter(&archive)
	if err := files.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func TestAFileThatIsNoArchiveIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OfArchive(file, "manager", "1.2.3"); err == nil || !strings.Contains(err.Error(), "image manager") {
		t.Errorf("got %v", err)
	}
}
