// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// epoch is the date of whatever is packed.
var epoch = time.Unix(0, 0).UTC()

// entry is a file in an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// pack writes entries such that the same ones give the same bytes: sorted, of nobody
// in particular, and without a date.
func pack(file string, entries []entry) error {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("packing %s: %w", filepath.Base(file), err)
	}
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, entry := range entries {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: entry.name, Size: int64(len(entry.content)), Mode: entry.mode, ModTime: epoch, Format: tar.FormatUSTAR,
		}
		if err = archive.WriteHeader(header); err != nil {
			break
		}
		if _, err = archive.Write(entry.content); err != nil {
			break
		}
	}
	if err := errors.Join(err, archive.Close(), compressed.Close(), out.Close()); err != nil {
		return fmt.Errorf("packing %s: %w", filepath.Base(file), err)
	}
	return nil
}

// repack writes the files of an archive anew: Helm dates what it packs.
func repack(from, to string) error {
	entries, err := unpack(from)
	if err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Base(from), err)
	}
	return pack(to, entries)
}

func unpack(file string) ([]entry, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	plain, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeReg {
			entries = append(entries, entry{name: header.Name, mode: 0o644, content: content})
		}
	}
}

// sumsFile is what `sha256sum --check` reads.
const sumsFile = "SHA256SUMS"

// writeSums lists every file below dir.
func writeSums(dir string) error {
	var lines strings.Builder
	err := filepath.WalkDir(dir, func(path string, found fs.DirEntry, err error) error {
		if err != nil || found.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, err := sumOf(path)
		fmt.Fprintf(&lines, "%s  %s\n", sum, filepath.ToSlash(name))
		return err
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, sumsFile), []byte(lines.String()), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", sumsFile, err)
	}
	return nil
}

func sumOf(file string) (string, error) {
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, in)
	return hex.EncodeToString(sum.Sum(nil)), err
}
