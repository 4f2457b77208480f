// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/package-url/packageurl-go"
)

// OfArchive lists what is in an image, by architecture. The archive is an OCI image layout as one tar file.
func OfArchive(file, name, version string) (map[string]*cdx.BOM, error) {
	dir, err := os.MkdirTemp("", "poolfleet-layout-")
	if err != nil {
		return nil, fmt.Errorf("listing what is in image %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	boms := map[string]*cdx.BOM{}
	err = unpackLayout(file, dir)
	if err == nil {
		err = eachImage(dir, func(arch string, image v1.Image) error {
			list, err := ofImage(image, name, version, arch)
			boms[arch] = list
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listing what is in image %s: %w", name, err)
	}
	return boms, nil
}

// ofImage names the image by its digest: the list is of that one and no other.
func ofImage(image v1.Image, name, version, arch string) (*cdx.BOM, error) {
	components, err := contents(image)
	if err != nil {
		return nil, err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	list := bom(cdx.ComponentTypeContainer, name, version, components)
	list.Metadata.Component.PackageURL = library(packageurl.TypeOCI, "", name, digest.String(), map[string]string{"arch": arch}).PackageURL
	return list, nil
}

func unpackLayout(file, dir string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return eachFile(in, func(header *tar.Header, content io.Reader) error {
		if err := root.MkdirAll(filepath.Dir(header.Name), 0o755); err != nil {
			return err
		}
		out, err := root.Create(header.Name)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, content)
		return errors.Join(err, out.Close())
	})
}

// eachImage visits the images of the first index: the layout names one index twice.
func eachImage(dir string, visit func(arch string, image v1.Image) error) error {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	names, err := top.IndexManifest()
	if err != nil {
		return err
	}
	if len(names.Manifests) == 0 {
		return errors.New("the archive names no image")
	}
	index, err := top.ImageIndex(names.Manifests[0].Digest)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return err
		}
		if err := visit(descriptor.Platform.Architecture, image); err != nil {
			return err
		}
	}
	return nil
}

func contents(image v1.Image) ([]cdx.Component, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	var components []cdx.Component
	for _, layer := range layers {
		files, err := layer.Uncompressed()
		if err != nil {
			return nil, err
		}
		err = eachFile(files, func(header *tar.Header, content io.Reader) error {
			found, err := inFile(header, content)
			components = append(components, found...)
			return err
		})
		if err := errors.Join(err, files.Close()); err != nil {
			return nil, err
		}
	}
	return components, nil
}

// eachFile visits the regular files of a tar archive.
func eachFile(archive io.Reader, visit func(*tar.Header, io.Reader) error) error {
	for files := tar.NewReader(archive); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(header, files); err != nil {
			return fmt.Errorf("reading %s: %w", header.Name, err)
		}
	}
}

// nodePackage is the manifest at the top of an npm package, not one deeper inside of it.
var nodePackage = regexp.MustCompile(`(^|/)node_modules/(@[^/]+/)?[^/]+/package\.json$`)

// inFile returns what a file of an image says is in the image.
func inFile(header *tar.Header, content io.Reader) ([]cdx.Component, error) {
	name := strings.TrimPrefix(path.Clean(header.Name), "/")
	switch {
	case strings.HasPrefix(name, "var/lib/dpkg/status.d/"):
		return debianPackage(content)
	case nodePackage.MatchString(name):
		return npmPackage(content)
	case header.Mode&0o111 == 0:
		return nil, nil
	}
	return goProgram(content)
}

func goProgram(content io.Reader) ([]cdx.Component, error) {
	program, err := io.ReadAll(content)
	if err != nil {
		return nil, err
	}
	found, err := modules(bytes.NewReader(program))
	if err != nil {
		return nil, nil //nolint:nilerr // It is no Go program.
	}
	return found, nil
}

// debianPackage reads a record of dpkg's. Advisories are about sources, so those are named, too.
func debianPackage(record io.Reader) ([]cdx.Component, error) {
	text, err := io.ReadAll(record)
	if err != nil {
		return nil, err
	}
	fields := fieldsOf(string(text))
	if fields["Package"] == "" || fields["Version"] == "" {
		return nil, nil // A list of checksums, for instance.
	}
	component := library(packageurl.TypeDebian, "debian", fields["Package"], fields["Version"], map[string]string{"arch": fields["Architecture"]})
	if source := fields["Source"]; source != "" {
		component.Properties = &[]cdx.Property{{Name: "debian:source", Value: source}}
	}
	return []cdx.Component{component}, nil
}

// fieldsOf leaves out what stands on further lines of a field.
func fieldsOf(record string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(record) {
		if key, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, " ") {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields
}

func npmPackage(manifest io.Reader) ([]cdx.Component, error) {
	var said struct{ Name, Version string }
	if err := json.NewDecoder(manifest).Decode(&said); err != nil {
		return nil, err
	}
	if said.Version == "" {
		return nil, nil // A folder of a package that is none itself.
	}
	namespace, name, scoped := strings.Cut(said.Name, "/")
	if !scoped {
		namespace, name = "", said.Name
	}
	return []cdx.Component{library(packageurl.TypeNPM, namespace, name, said.Version, nil)}, nil
}
