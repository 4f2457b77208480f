// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const index = `{"schemaVersion": 2, "manifests": [
  {"digest": "sha256:aa", "annotations": {"io.containerd.image.name": "localhost/poolfleet/manager:dev", "org.opencontainers.image.ref.name": "dev"}},
  {"digest": "sha256:aa", "annotations": {"io.containerd.image.name": "localhost/poolfleet/manager@sha256:aa"}},
  {"digest": "sha256:bb", "annotations": {"org.opencontainers.image.ref.name": "localhost:5000/other:1"}},
  {"digest": "sha256:cc"}]}`

func archiveOf(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(file)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestALayoutTellsItsNamesAndDigests(t *testing.T) {
	got, err := archived(archiveOf(t, "./index.json", index))
	if err != nil {
		t.Fatal(err)
	}
	want := []Image{
		{"localhost/poolfleet/manager:dev", "sha256:aa"},
		{"localhost/poolfleet/manager@sha256:aa", "sha256:aa"},
		{"localhost:5000/other:1", "sha256:bb"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOfAnotherArchiveNothingIsKnown(t *testing.T) {
	got, err := archived(archiveOf(t, "manifest.json", "[]"))
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEveryTagGetsANameByDigestOnce(t *testing.T) {
	images := []Image{
		{"localhost/poolfleet/manager:dev", "sha256:aa"},
		{"localhost/poolfleet/manager@sha256:aa", "sha256:aa"},
		{"localhost:5000/other:1", "sha256:bb"},
		{"localhost:5000/untagged", "sha256:cc"},
	}
	added := []Image{
		{"localhost:5000/other@sha256:bb", "sha256:bb"},
		{"localhost:5000/untagged@sha256:cc", "sha256:cc"},
	}
	if diff := cmp.Diff(slices.Concat(images, added), byDigest(images)); diff != "" {
		t.Error(diff)
	}
}

func TestAnImageOfTheSameNameButAnotherDigestIsNotThere(t *testing.T) {
	have := []Image{{"a:1", "sha256:old"}, {"b:1", "sha256:bb"}}
	if containsAll(have, []Image{{"a:1", "sha256:new"}}) {
		t.Error("an old image passes for a new one of the same name")
	}
	if !containsAll(have, []Image{{"b:1", "sha256:bb"}}) {
		t.Error("what is there is not found")
	}
}
