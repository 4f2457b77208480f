// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Image is one image as its build left it on disk, or as it is found in a registry.
type Image struct {
	// Reference names it, best with a digest.
	Reference string
	// Archive is the file to load into nodes; empty for an image in a registry.
	Archive string
}

// Images are all that the operator and a PostgreSQL server consist of.
type Images struct {
	Manager, Pooler, Edge, AccelerateLegacy, Postgres Image
}

// ReadImages returns what `make images` left in dir. With pushed, images that were
// pushed to a registry go by their name there.
func ReadImages(dir string, pushed bool) (Images, error) {
	text, err := os.ReadFile(filepath.Join(dir, "images.json"))
	if err != nil {
		return Images{}, fmt.Errorf("reading the list of images, which `make images` writes: %w", err)
	}
	var built map[string]struct{ Pinned, Pushed, Archive string }
	if err := json.Unmarshal(text, &built); err != nil {
		return Images{}, fmt.Errorf("reading the list of images: %w", err)
	}
	var images Images
	for name, target := range images.byName() {
		entry, found := built[name]
		if !found {
			return Images{}, fmt.Errorf("reading the list of images: %s is not in it: run `make images`", name)
		}
		*target = Image{Reference: entry.Pinned, Archive: filepath.Join(dir, entry.Archive)}
		if pushed && entry.Pushed != "" {
			target.Reference = entry.Pushed
		}
	}
	return images, nil
}

func (i *Images) byName() map[string]*Image {
	return map[string]*Image{
		"manager": &i.Manager, "pooler": &i.Pooler, "edge": &i.Edge, "accelerate-legacy": &i.AccelerateLegacy, "postgres": &i.Postgres,
	}
}

// values are the chart's values that name an image.
func (i Image) values(key string) []string {
	if repository, digest, found := strings.Cut(i.Reference, "@"); found {
		return []string{key + ".repository=" + repository, key + ".digest=" + digest}
	}
	repository, tag := i.Reference, ""
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	return []string{key + ".repository=" + repository, key + ".tag=" + tag}
}
