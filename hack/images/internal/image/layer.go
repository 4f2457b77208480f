// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of everything in an image: a digest tells contents, not days.
var epoch = time.Unix(0, 0).UTC()

// RootLayer packs a root file system into file, unless file is there already,
// and returns it as a layer. The caller names file after the root's contents.
func RootLayer(root, file string, skip func(name string) bool) (v1.Layer, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		err := writeCompressed(file, func(w *tar.Writer) error { return packTree(w, root, skip) })
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", root, err)
		}
	}
	return openLayer(file)
}

// FileLayer packs one program into file and returns it as a layer.
func FileLayer(source, target, file string) (v1.Layer, error) {
	err := writeCompressed(file, func(w *tar.Writer) error { return packFile(w, source, target) })
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", source, err)
	}
	return openLayer(file)
}

func openLayer(file string) (v1.Layer, error) {
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("reading layer %s: %w", file, err)
	}
	return layer, nil
}

// writeCompressed writes beside file and renames, so that file is whole or absent.
func writeCompressed(file string, pack func(*tar.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	compressed := gzip.NewWriter(out) // Without a name and time in its header, as we need it.
	archive := tar.NewWriter(compressed)
	if err := errors.Join(pack(archive), archive.Close(), compressed.Close(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

// packTree writes directories, files and links in lexical order. Device nodes
// stay out: a runtime brings its own.
func packTree(w *tar.Writer, root string, skip func(string) bool) error {
	tree, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer tree.Close()
	return fs.WalkDir(tree.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." || skip(name) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			return w.WriteHeader(directory(name, info.Mode()))
		case fs.ModeSymlink:
			target, err := tree.Readlink(name)
			if err != nil {
				return err
			}
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch})
		case 0:
			return packOpened(w, name, info, func() (fs.File, error) { return tree.Open(name) })
		}
		return nil
	})
}

func directory(name string, mode fs.FileMode) *tar.Header {
	header := &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch}
	if mode&fs.ModeSticky != 0 {
		header.Mode = 0o1777
	}
	return header
}

func packOpened(w *tar.Writer, name string, info fs.FileInfo, open func() (fs.File, error)) error {
	file, err := open()
	if err != nil {
		return err
	}
	defer file.Close()
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: epoch,
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

// packFile writes a program. The folders above it are named only where the root
// below has none: a layer that names one replaces what the layers below say of it.
func packFile(w *tar.Writer, source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	return packOpened(w, strings.TrimPrefix(path.Clean(target), "/"), executable{info}, func() (fs.File, error) { return os.Open(source) })
}

// executable is a file that anyone may run, whatever this machine's umask made of it.
type executable struct{ fs.FileInfo }

func (executable) Mode() fs.FileMode { return 0o755 }
