// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageName is the annotation by which containerd names what it imports
// (containerd's images.AnnotationImageName).
const imageName = "io.containerd.image.name"

// WriteArchive writes an OCI image layout as one tar file. The layout names the
// index twice, by tag and by digest, because a pod that asks for a digest is
// served from containerd's store only if the store has that very name.
func WriteArchive(file string, index v1.ImageIndex, names []string) error {
	out, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("writing archive %s: %w", file, err)
	}
	defer func() { _ = os.Remove(out.Name()) }()
	w := &archive{tar: tar.NewWriter(out), written: map[v1.Hash]bool{}}
	err = errors.Join(w.layout(index, names), w.tar.Close(), out.Chmod(0o644), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing archive %s: %w", file, err)
	}
	return nil
}

type archive struct {
	tar     *tar.Writer
	written map[v1.Hash]bool
}

func (a *archive) layout(index v1.ImageIndex, names []string) error {
	top := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, name := range names {
		descriptor, err := partial.Descriptor(index)
		if err != nil {
			return err
		}
		descriptor.Annotations = map[string]string{imageName: name}
		top.Manifests = append(top.Manifests, *descriptor)
	}
	text, err := json.Marshal(top)
	if err != nil {
		return err
	}
	if err := a.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := a.file("index.json", text); err != nil {
		return err
	}
	return a.index(index)
}

func (a *archive) index(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return err
		}
		if err := a.image(image); err != nil {
			return err
		}
	}
	return a.manifest(index)
}

func (a *archive) image(image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := a.layer(layer); err != nil {
			return err
		}
	}
	digest, err := image.ConfigName()
	if err != nil {
		return err
	}
	text, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	if err := a.blob(digest, int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	return a.manifest(image)
}

func (a *archive) layer(layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return a.blob(digest, size, content)
}

// described is an image or an index.
type described interface {
	Digest() (v1.Hash, error)
	RawManifest() ([]byte, error)
}

func (a *archive) manifest(of described) error {
	digest, err := of.Digest()
	if err != nil {
		return err
	}
	text, err := of.RawManifest()
	if err != nil {
		return err
	}
	return a.blob(digest, int64(len(text)), bytes.NewReader(text))
}

func (a *archive) blob(digest v1.Hash, size int64, content io.Reader) error {
	if a.written[digest] {
		return nil
	}
	a.written[digest] = true
	return a.entry("blobs/"+digest.Algorithm+"/"+digest.Hex, size, content)
}

func (a *archive) file(name string, text []byte) error {
	return a.entry(name, int64(len(text)), bytes.NewReader(text))
}

func (a *archive) entry(name string, size int64, content io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: epoch}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, content)
	return err
}
