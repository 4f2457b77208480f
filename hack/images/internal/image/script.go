// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Script is a program in JavaScript in an image, run by the Node.js of its set.
type Script struct {
	// Path is the folder in the image that it lies in; main.js is what runs.
	Path string
	// Package is the folder of its package.json, lock file and modules, relative to the
	// repository.
	Package string
	// Only keeps, of the named packages that it depends on, no more than these files.
	Only map[string][]string
}

// Packager brings scripts together with what their lock files name, by npm.
type Packager struct {
	// Repo is the repository that a Script's Package is relative to.
	Repo string
	// Cache is the folder for what is brought.
	Cache string
	// Say receives progress, one line each.
	Say func(format string, args ...any)
}

// Tree returns a folder with an image's script as it lies in the image, and a name for
// the contents. What is there already is not brought again.
func (p Packager) Tree(ctx context.Context, definition Definition) (dir, key string, err error) {
	source := filepath.Join(p.Repo, definition.Script.Package)
	files, err := filepath.Glob(filepath.Join(source, "*.js*")) // Modules, package.json and the lock file.
	if err == nil && len(files) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", "", fmt.Errorf("looking for the script of image %s in %s: %w", definition.Name, source, err)
	}
	key, err = keyOf(definition.Script, files)
	if err != nil {
		return "", "", fmt.Errorf("reading the script of image %s: %w", definition.Name, err)
	}
	dir = filepath.Join(p.Cache, "scripts", key)
	if _, err := os.Stat(dir); err == nil {
		return dir, key, nil
	}
	p.Say("%s: bringing what its lock file names", definition.Name)
	if err := bring(ctx, definition.Script, files, dir); err != nil {
		return "", "", fmt.Errorf("bringing the packages of image %s: %w", definition.Name, err)
	}
	return dir, key, nil
}

// keyOf names what the files and the rest of the definition make.
func keyOf(script Script, files []string) (string, error) {
	definition, err := json.Marshal(script)
	sum := sha256.New()
	sum.Write(definition)
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		fmt.Fprintf(sum, "\n%s %d\n%s", filepath.Base(file), len(text), text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:12]), err
}

// bring works beside dir and renames, so that dir is whole or absent.
func bring(ctx context.Context, script Script, files []string, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(staging) }()
	app := filepath.Join(staging, script.Path)
	if err := os.MkdirAll(app, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(app, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	if err := install(ctx, app); err != nil {
		return err
	}
	for name, kept := range script.Only {
		if err := prune(filepath.Join(app, "node_modules", name), kept); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(staging, 0o755), os.Rename(staging, dir))
}

// install runs none of the packages' own scripts.
func install(ctx context.Context, app string) error {
	cmd := exec.CommandContext(ctx, "npm", "ci", "--omit=dev", "--omit=optional", "--omit=peer", "--ignore-scripts", "--no-bin-links",
		"--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = app
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: hack/npm.sh installs it", err)
	}
	if err != nil {
		return fmt.Errorf("running npm ci: %w\n%s", err, strings.TrimSpace(said.String()))
	}
	return os.RemoveAll(filepath.Join(app, "node_modules", ".package-lock.json")) // It is npm's own.
}

// prune leaves the named files of a package alone. All of them have to be there.
func prune(dir string, kept []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var found []string
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if slices.Contains(kept, name) {
			found = append(found, name)
			return nil
		}
		return root.Remove(name)
	})
	if err == nil && len(found) != len(kept) {
		return fmt.Errorf("%s has, of %v, only %v", dir, kept, found)
	}
	return err
}
