// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e runs real clusters and looks at them from outside and inside. It
// needs root, and what make cluster-up builds.
package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const probeName = "localhost/poolfleet/probe"

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// probeImage builds the probe and an OCI layout around it, tagged 1, and returns
// the archive and the manifest's digest.
func probeImage(t *testing.T) (archive, digest string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", binary, "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v\n%s", err, output)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	layer := tarOf(t, map[string][]byte{"probe": program})
	blobs := map[string][]byte{}
	add := func(kind string, content []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		blobs["blobs/sha256/"+sum] = content
		return descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + sum, Size: len(content)}
	}
	layerAt := add("layer.v1.tar", layer)
	config := add("config.v1+json", toJSON(t, map[string]any{
		"os": "linux", "architecture": "amd64",
		"config": map[string]any{"Entrypoint": []string{"/probe"}, "Cmd": []string{"serve", ":8080"}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerAt.Digest}},
	}))
	manifest := add("manifest.v1+json", toJSON(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []descriptor{layerAt},
	}))
	manifest.Annotations = map[string]string{"io.containerd.image.name": probeName + ":1"}
	blobs["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	blobs["index.json"] = toJSON(t, map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})
	archive = filepath.Join(t.TempDir(), "probe.tar")
	if err := os.WriteFile(archive, tarOf(t, blobs), 0o644); err != nil {
		t.Fatal(err)
	}
	return archive, manifest.Digest
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func toJSON(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
