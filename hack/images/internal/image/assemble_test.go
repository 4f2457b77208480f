// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// anImage has a root layer and a program's layer, for two architectures.
func anImage(t *testing.T) (Definition, v1.ImageIndex) {
	t.Helper()
	definition := Definitions()[2]
	var platforms []Platform
	for _, arch := range []string{"amd64", "arm64"} {
		root, err := RootLayer(aTree(t, []string{"usr/bin/tool", arch}, time.Now()), filepath.Join(t.TempDir(), "l"), skipStamp)
		if err != nil {
			t.Fatal(err)
		}
		compiler := Compiler{Repo: "../..", Cache: t.TempDir(), Version: "1.2.3", Say: t.Logf}
		program, err := compiler.Program(t.Context(), hello, arch)
		if err != nil {
			t.Fatal(err)
		}
		layer, err := FileLayer(program, definition.Binary.Path, filepath.Join(t.TempDir(), "l"))
		if err != nil {
			t.Fatal(err)
		}
		platforms = append(platforms, Platform{Arch: arch, Layers: []v1.Layer{root, layer}, Packages: "pgbouncer 1.26.1-1\n"})
	}
	index, err := Assemble(definition, "1.2.3", platforms)
	if err != nil {
		t.Fatal(err)
	}
	return definition, index
}

// hello is an image of the stand-in program of this module.
var hello = Definition{Name: "hello", Binary: Binary{Path: "/hello", Package: "./testdata/hello", Module: "."}}

func digest(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	hash, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestBuildingTwiceGivesTheSameDigest(t *testing.T) {
	_, first := anImage(t)
	_, second := anImage(t)
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("digests %s and %s differ", a, b)
	}
}

func TestAnImageSaysHowItStartsAndWhatItIsMadeOf(t *testing.T) {
	definition, index := anImage(t)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		image, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if file.Architecture != arch || manifest.Manifests[i].Platform.Architecture != arch {
			t.Errorf("platform %d is %s, want %s", i, file.Architecture, arch)
		}
		want := v1.Config{
			Entrypoint: []string{"/usr/bin/pooler"}, User: "65532:65532", WorkingDir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin"},
			Labels: annotations(definition, "1.2.3"),
		}
		want.Labels[PackagesLabel] = "pgbouncer 1.26.1-1\n"
		if diff := cmp.Diff(want, file.Config); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
	}
	if got := manifest.Annotations["org.opencontainers.image.version"]; got != "1.2.3" {
		t.Errorf("the index is of version %q", got)
	}
}

func TestAnArchiveIsAWholeLayoutNamedByTagAndDigest(t *testing.T) {
	_, index := anImage(t)
	file := filepath.Join(t.TempDir(), "pooler.tar")
	names := []string{"localhost/poolfleet/pooler:dev", "localhost/poolfleet/pooler@" + digest(t, index)}
	if err := WriteArchive(file, index, names); err != nil {
		t.Fatal(err)
	}
	written, err := layout.ImageIndexFromPath(untar(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(written); err != nil {
		t.Error(err)
	}
	top, err := written.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, descriptor := range top.Manifests {
		got = append(got, descriptor.Annotations[imageName])
		if descriptor.Digest.String() != digest(t, index) {
			t.Errorf("%s leads to %s", descriptor.Annotations[imageName], descriptor.Digest)
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func untar(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	opened, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for reader := tar.NewReader(opened); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPushedImageIsTheOneBuilt(t *testing.T) {
	_, index := anImage(t)
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	pushed, err := Push(t.Context(), index, host+"/fleet/pooler:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if want := host + "/fleet/pooler@" + digest(t, index); pushed != want {
		t.Errorf("pushed as %s, want %s", pushed, want)
	}
	for _, reference := range []string{pushed, host + "/fleet/pooler:1.2.3"} {
		parsed, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := remote.Index(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(pulled); err != nil {
			t.Error(err)
		}
		if digest(t, pulled) != digest(t, index) {
			t.Errorf("%s is another image", reference)
		}
	}
}

func TestARegistryThatIsNotThereIsNamed(t *testing.T) {
	_, index := anImage(t)
	server := httptest.NewServer(registry.New())
	host := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	if _, err := Push(t.Context(), index, host+"/fleet/pooler:1"); err == nil || !strings.Contains(err.Error(), "pushing "+host) {
		t.Errorf("got %v", err)
	}
}
