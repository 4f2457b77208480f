// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PackagesLabel holds the Debian packages of an image, one `name version` per line.
const PackagesLabel = "dev.poolfleet.packages"

// Platform is one architecture's contents of an image.
type Platform struct {
	Arch string
	// Layers are stacked in this order.
	Layers []v1.Layer
	// Packages is the inventory of the root file system; empty without one.
	Packages string
}

// Assemble returns an index with one image per platform. There is an index even
// for a single one, so that a reference means the same kind of thing everywhere.
func Assemble(definition Definition, version string, platforms []Platform) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		image, err := assemble(definition, version, platform)
		if err != nil {
			return nil, fmt.Errorf("assembling image %s for %s: %w", definition.Name, platform.Arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: platform.Arch}},
		})
	}
	return annotate(index, annotations(definition, version))
}

func assemble(definition Definition, version string, platform Platform) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, layer := range platform.Layers {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "hack/images"},
		})
		if err != nil {
			return nil, err
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", platform.Arch, v1.Time{Time: epoch}
	file.Config = config(definition, version, platform)
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, err
	}
	return annotate(image, annotations(definition, version))
}

// annotate gives back what it was given, an image or an index, with annotations.
func annotate[T partial.WithRawManifest](described T, with map[string]string) (T, error) {
	annotated, ok := mutate.Annotations(described, with).(T)
	if !ok {
		return annotated, errors.New("annotating an image: the library returned something else")
	}
	return annotated, nil
}

func config(definition Definition, version string, platform Platform) v1.Config {
	labels := annotations(definition, version)
	if platform.Packages != "" {
		labels[PackagesLabel] = platform.Packages
	}
	return v1.Config{
		Entrypoint: definition.Entrypoint(),
		Env:        slices.Concat([]string{"PATH=/usr/sbin:/usr/bin"}, definition.Env),
		User:       definition.User,
		WorkingDir: "/",
		StopSignal: definition.StopSignal,
		Labels:     labels,
	}
}

// annotations are those of the OCI image specification ("Pre-Defined Annotation Keys").
func annotations(definition Definition, version string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       definition.Title,
		"org.opencontainers.image.description": definition.Description,
		"org.opencontainers.image.licenses":    definition.Licenses,
		"org.opencontainers.image.version":     definition.TagFor(version),
		"org.opencontainers.image.vendor":      "The Poolfleet Authors",
		"org.opencontainers.image.source":      "https://github.com/poolfleet/poolfleet",
	}
}
