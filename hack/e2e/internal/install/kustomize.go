// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Kustomization copies config to dir and names the images in its default
// kustomization, as `kustomize edit set image` does.
func Kustomization(config, dir string, images Images) error {
	if err := os.CopyFS(dir, os.DirFS(config)); err != nil {
		return fmt.Errorf("copying the kustomization: %w", err)
	}
	file := filepath.Join(dir, "default", "kustomization.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the kustomization: %w", err)
	}
	edited := string(text) + "images:\n" + images.Manager.kustomized("manager") + images.Pooler.kustomized("pooler")
	if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
		return fmt.Errorf("writing the kustomization: %w", err)
	}
	return nil
}

// kustomized is an image's entry in a kustomization; its reference has a digest.
func (i Image) kustomized(name string) string {
	repository, digest, _ := strings.Cut(i.Reference, "@")
	return fmt.Sprintf("  - name: localhost/poolfleet/%s\n    newName: %s\n    digest: %s\n", name, repository, digest)
}
