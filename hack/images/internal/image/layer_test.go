// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// aTree makes a small root; the same files come out however they are dated and ordered.
func aTree(t *testing.T, names []string, when time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Symlink("usr/bin", filepath.Join(dir, "bin")),
		os.MkdirAll(filepath.Join(dir, "tmp"), 0o755),
		os.Chmod(filepath.Join(dir, "tmp"), os.ModeSticky|0o777),
		os.Chmod(filepath.Join(dir, "usr/bin/tool"), 0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func skipStamp(name string) bool { return name == ".stamp" }

func digestOf(t *testing.T, tree string) string {
	t.Helper()
	layer, err := RootLayer(tree, filepath.Join(t.TempDir(), "layer.tar.gz"), skipStamp)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func TestEqualTreesAreEqualLayers(t *testing.T) {
	first := aTree(t, []string{"usr/bin/tool", "etc/passwd", ".stamp"}, time.Unix(1, 0))
	second := aTree(t, []string{"etc/passwd", "usr/bin/tool"}, time.Now())
	if err := os.Chmod(filepath.Join(second, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, first), digestOf(t, second); a != b {
		t.Errorf("digests %s and %s differ", a, b)
	}
	if err := os.Chmod(filepath.Join(second, "etc/passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, first), digestOf(t, second); a == b {
		t.Error("another mode of a file gives the same digest")
	}
}

func TestALayersEntriesBelongToRootAndHaveNoDate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layer.tar.gz")
	if _, err := RootLayer(aTree(t, []string{"usr/bin/tool", ".stamp"}, time.Now()), file, skipStamp); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, header := range entries(t, file) {
		got = append(got, header.Name)
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(epoch) {
			t.Errorf("%s: %d:%d, %v", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		if header.Name == "tmp/" && header.Mode != 0o1777 {
			t.Errorf("tmp has mode %o", header.Mode)
		}
	}
	if diff := cmp.Diff([]string{"bin", "tmp/", "usr/", "usr/bin/", "usr/bin/tool"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func entries(t *testing.T, file string) []tar.Header {
	t.Helper()
	opened, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	plain, err := gzip.NewReader(opened)
	if err != nil {
		t.Fatal(err)
	}
	var headers []tar.Header
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, *header)
	}
}

func TestAProgramsLayerNamesNoFolder(t *testing.T) {
	program := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "layer.tar.gz")
	if _, err := FileLayer(program, "/usr/bin/pooler", file); err != nil {
		t.Fatal(err)
	}
	got := entries(t, file)
	if len(got) != 1 || got[0].Name != "usr/bin/pooler" || got[0].Mode != 0o755 {
		t.Errorf("entries %v", got)
	}
}
