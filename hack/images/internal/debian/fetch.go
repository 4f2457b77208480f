// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Package is one package file that is on disk and has the checksum Debian signed.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	// File is where the package lies; it differs between machines.
	File string `json:"-"`
}

// Fetch resolves names and their libraries (see Closure) and brings the packages
// here; those already here are not loaded again. Lists that turn out too old,
// because the suite dropped a version they name, are read anew once.
func (a *Apt) Fetch(ctx context.Context, names []string, follow func(string) bool) ([]Package, error) {
	updated := false
	if !a.Fresh() {
		if err := a.Update(ctx); err != nil {
			return nil, err
		}
		updated = true
	}
	packages, err := a.fetch(ctx, names, follow)
	if err == nil || updated {
		return packages, err
	}
	if err := a.Update(ctx); err != nil {
		return nil, err
	}
	return a.fetch(ctx, names, follow)
}

func (a *Apt) fetch(ctx context.Context, names []string, follow func(string) bool) ([]Package, error) {
	all, err := a.Closure(ctx, names, follow)
	if err != nil {
		return nil, err
	}
	out, err := a.get(ctx, "", append([]string{"download", "--print-uris"}, all...)...)
	if err != nil {
		return nil, fmt.Errorf("finding the packages in Debian %s: %w", a.Suite, err)
	}
	packages, err := parseURIs(out, a.archives())
	if err != nil {
		return nil, err
	}
	if len(packages) != len(all) {
		return nil, fmt.Errorf("finding the packages in Debian %s: asked for %d, apt names %d", a.Suite, len(all), len(packages))
	}
	return packages, a.download(ctx, packages)
}

// parseURIs reads the lines `'URI' name_version_arch.deb size SHA256:sum`.
func parseURIs(text, dir string) ([]Package, error) {
	var packages []Package
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 4 || !strings.HasPrefix(fields[3], "SHA256:") {
			return nil, fmt.Errorf("reading what apt would download: line %q is not `'URI' file size SHA256:sum`", strings.TrimSpace(line))
		}
		file, err := url.PathUnescape(fields[1])
		parts := strings.Split(file, "_")
		if err != nil || len(parts) != 3 {
			return nil, fmt.Errorf("reading what apt would download: file %q is not name_version_arch.deb", fields[1])
		}
		packages = append(packages, Package{
			Name: parts[0], Version: parts[1],
			SHA256: strings.TrimPrefix(fields[3], "SHA256:"),
			File:   filepath.Join(dir, fields[1]),
		})
	}
	return packages, nil
}

// download loads the packages that are absent or damaged, and checks them all:
// apt has checked the lists' signature, the lists hold the checksums.
func (a *Apt) download(ctx context.Context, packages []Package) error {
	args := []string{"download"}
	for _, pkg := range packages {
		if sum, err := checksum(pkg.File); err == nil && sum == pkg.SHA256 {
			continue
		}
		if err := os.RemoveAll(pkg.File); err != nil {
			return fmt.Errorf("removing a damaged package: %w", err)
		}
		args = append(args, pkg.Name+"="+pkg.Version)
	}
	if len(args) == 1 {
		return nil
	}
	a.Say("downloading %d of %d packages", len(args)-1, len(packages))
	if _, err := a.get(ctx, a.archives(), args...); err != nil {
		return fmt.Errorf("downloading packages of Debian %s: %w", a.Suite, err)
	}
	for _, pkg := range packages {
		if sum, err := checksum(pkg.File); err != nil {
			return fmt.Errorf("checking package %s: %w", pkg.Name, err)
		} else if sum != pkg.SHA256 {
			return fmt.Errorf("checking package %s: its SHA-256 is %s, Debian's list says %s", pkg.Name, sum, pkg.SHA256)
		}
	}
	return nil
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
