// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/poolfleet/poolfleet/hack/release/internal/sbom"
)

// released are the images of the product; the others are the tests'.
var released = []string{"manager", "pooler", "edge", "accelerate-legacy"}

// images builds the archives, lists what is in each, and returns their digests by name.
func (r *release) images(ctx context.Context) (map[string]string, error) {
	dir := filepath.Join(r.out, "images")
	args := append([]string{"build", "--repo", r.repo, "--out", dir, "--version", r.version, "--arch", r.arches}, released...)
	cmd := exec.CommandContext(ctx, filepath.Join(r.bin, "images"), args...)
	cmd.Dir = r.repo
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // It says what it does, which takes minutes.
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building images: %w", err)
	}
	digests, err := readDigests(filepath.Join(dir, "images.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range released {
		if err := r.list(dir, name); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

// list writes what is in an image, for each architecture.
func (r *release) list(dir, name string) error {
	boms, err := sbom.OfArchive(filepath.Join(dir, name+".tar"), name, r.version)
	if err != nil {
		return err
	}
	for arch, bom := range boms {
		if err := sbom.Write(filepath.Join(dir, name+"_linux_"+arch+".cdx.json"), bom); err != nil {
			return err
		}
	}
	return nil
}

// readDigests reads the catalogue that hack/images leaves beside its archives.
func readDigests(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the images' digests: %w", err)
	}
	var catalogue map[string]struct{ Digest string }
	if err := json.Unmarshal(text, &catalogue); err != nil {
		return nil, fmt.Errorf("reading the images' digests in %s: %w", file, err)
	}
	digests := map[string]string{}
	for _, name := range released {
		if digests[name] = catalogue[name].Digest; digests[name] == "" {
			return nil, fmt.Errorf("reading the images' digests: %s has none of %s", file, name)
		}
	}
	return digests, nil
}
