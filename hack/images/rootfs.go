// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/poolfleet/poolfleet/hack/images/internal/debian"
	"github.com/poolfleet/poolfleet/hack/images/internal/image"
	"github.com/poolfleet/poolfleet/hack/images/internal/rootfs"
)

// common are the flags of every command that fetches packages.
type common struct {
	repo, cache, mirror, keyring string
	refresh                      bool
}

func (c *common) register(flags *flag.FlagSet) {
	flags.StringVar(&c.repo, "repo", "", "the repository (default: found upwards from here)")
	flags.StringVar(&c.cache, "cache", "", "where downloads are kept (default: .cache of the repository)")
	flags.StringVar(&c.mirror, "mirror", "", "address of a Debian archive (default: those in apt's own sources)")
	flags.StringVar(&c.keyring, "keyring", debian.Keyring(), "Debian's archive keys")
	flags.BoolVar(&c.refresh, "refresh", false, "ask Debian for newer packages")
}

// complete fills in what was not given.
func (c *common) complete() error {
	if c.repo == "" {
		repo, err := findRepository()
		if err != nil {
			return err
		}
		c.repo = repo
	}
	if c.cache == "" {
		c.cache = filepath.Join(c.repo, ".cache")
	}
	cache, err := filepath.Abs(c.cache)
	c.cache = cache
	return err
}

// findRepository looks upwards for the product's go.mod.
func findRepository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/poolfleet/poolfleet\n") {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("finding the repository: no go.mod of it in this directory or above: name it with --repo")
	}
}

func (c *common) maker(ctx context.Context, arch string) (*rootfs.Maker, error) {
	if err := errors.Join(rootfs.CheckArch(arch), debian.RequireTools()); err != nil {
		return nil, err
	}
	mirrors := []string{c.mirror}
	if c.mirror == "" {
		sources, err := debian.Sources(ctx)
		if err != nil {
			return nil, err
		}
		mirrors = nil
		for _, source := range sources {
			mirrors = append(mirrors, source.URI)
		}
	}
	cache := filepath.Join(c.cache, "debian")
	apt := &debian.Apt{
		Suite: rootfs.Suite, Arch: arch, Cache: cache, Mirrors: mirrors, Keyring: c.keyring, Say: say,
	}
	return &rootfs.Maker{
		Archive: apt, Suite: rootfs.Suite, Arch: arch, Cache: cache, Refresh: c.refresh, Say: say,
	}, nil
}

func (c *common) packager() image.Packager {
	return image.Packager{Repo: c.repo, Cache: filepath.Join(c.cache, "images-build"), Say: say}
}

// runScript leaves out what is there already, as runRootfs does.
func runScript(ctx context.Context, args []string) error {
	var c common
	flags := flag.NewFlagSet("script", flag.ExitOnError)
	out := flags.String("out", "", "name for a link to the folder")
	c.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() != 1 {
		return errors.New("give --out LINK and the name of one image")
	}
	definitions, err := image.Select(flags.Args())
	if err == nil && definitions[0].Script.Path == "" {
		err = fmt.Errorf("image %s has no script", definitions[0].Name)
	}
	if err != nil {
		return err
	}
	if err := c.complete(); err != nil {
		return err
	}
	dir, _, err := c.packager().Tree(ctx, definitions[0])
	if err != nil {
		return err
	}
	if err := os.Remove(*out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replacing the link: %w", err)
	}
	return os.Symlink(dir, *out)
}

func runRootfs(ctx context.Context, args []string) error {
	var c common
	flags := flag.NewFlagSet("rootfs", flag.ExitOnError)
	names := strings.Join(slices.Sorted(maps.Keys(rootfs.Sets())), ", ")
	name := flags.String("set", "", "which set: "+names)
	out := flags.String("out", "", "directory for the root file system")
	arch := flags.String("arch", runtime.GOARCH, "architecture: amd64 or arm64")
	c.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	set, known := rootfs.Sets()[*name]
	if !known || *out == "" {
		return fmt.Errorf("give --set (one of %s) and --out DIR", names)
	}
	if err := c.complete(); err != nil {
		return err
	}
	maker, err := c.maker(ctx, *arch)
	if err != nil {
		return err
	}
	_, err = maker.Make(ctx, set, filepath.Clean(*out))
	return err
}
