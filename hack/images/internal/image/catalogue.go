// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CatalogueFile lies beside the archives.
const CatalogueFile = "images.json"

// Built is one image of a build, as installers need to know it.
type Built struct {
	// Reference is the local name with tag.
	Reference string `json:"reference"`
	// Digest is that of the index, sha256:...
	Digest string `json:"digest"`
	// Pinned is the local name with digest: the one to install by.
	Pinned string `json:"pinned"`
	// Archive is the file beside images.json.
	Archive string `json:"archive"`
	// Platforms are the architectures in it.
	Platforms []string `json:"platforms"`
	// Pushed is the name with digest in the registry it was pushed to.
	Pushed string `json:"pushed,omitempty"`
}

// ReadCatalogue returns what earlier builds left in dir, by image name; nothing is not an error.
func ReadCatalogue(dir string) (map[string]Built, error) {
	built := map[string]Built{}
	text, err := os.ReadFile(filepath.Join(dir, CatalogueFile))
	if errors.Is(err, fs.ErrNotExist) {
		return built, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &built)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of images: %w", err)
	}
	return built, nil
}

// WriteCatalogue writes the list to dir; it is whole or unchanged.
func WriteCatalogue(dir string, built map[string]Built) error {
	text, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the list of images: %w", err)
	}
	file := filepath.Join(dir, CatalogueFile)
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the list of images: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("writing the list of images: %w", err)
	}
	return nil
}
