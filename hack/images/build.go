// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/poolfleet/poolfleet/hack/images/internal/image"
	"github.com/poolfleet/poolfleet/hack/images/internal/rootfs"
)

// builder is one run of the build command.
type builder struct {
	common
	out, version, push string
	arches             []string
	compiler           image.Compiler
	// roots remembers what this run has made, so that sets shared by images are asked for once.
	roots map[string]image.Platform
}

func runBuild(ctx context.Context, args []string) error {
	b := &builder{roots: map[string]image.Platform{}}
	prebuilt := map[string]string{}
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.StringVar(&b.out, "out", "", "directory for the archives and "+image.CatalogueFile)
	flags.StringVar(&b.version, "version", "dev", "version of our programs, and the images' tag")
	flags.StringVar(&b.push, "push", "", "also push to REGISTRY/PATH/<image>:<version>")
	arches := flags.String("arch", runtime.GOARCH, "architectures, joined by commas: amd64, arm64")
	flags.Func("binary", "IMAGE=FILE: take a built program instead of building it (repeatable)", func(value string) error {
		name, file, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("expected IMAGE=FILE")
		}
		prebuilt[name] = file
		_, err := image.Select([]string{name})
		return err
	})
	b.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.out == "" {
		return errors.New("give --out DIR")
	}
	definitions, err := image.Select(flags.Args())
	if err != nil {
		return err
	}
	if err := b.complete(); err != nil {
		return err
	}
	b.arches = strings.Split(*arches, ",")
	b.compiler = image.Compiler{
		Repo: b.repo, Cache: filepath.Join(b.cache, "images-build"), Version: b.version, Prebuilt: prebuilt, Say: say,
	}
	return b.run(ctx, definitions)
}

func (b *builder) run(ctx context.Context, definitions []image.Definition) error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", b.out, err)
	}
	catalogue, err := image.ReadCatalogue(b.out)
	if err != nil {
		return err
	}
	for _, definition := range definitions {
		built, err := b.image(ctx, definition, catalogue[definition.Name])
		if err != nil {
			return err
		}
		catalogue[definition.Name] = built
		if err := image.WriteCatalogue(b.out, catalogue); err != nil {
			return err
		}
	}
	return nil
}

// image builds one image; before is what an earlier run made of it.
func (b *builder) image(ctx context.Context, definition image.Definition, before image.Built) (image.Built, error) {
	started := time.Now()
	index, err := b.assemble(ctx, definition)
	if err != nil {
		return image.Built{}, err
	}
	digest, err := index.Digest()
	if err != nil {
		return image.Built{}, fmt.Errorf("reading the digest of image %s: %w", definition.Name, err)
	}
	built := image.Built{
		Reference: definition.Reference(b.version),
		Digest:    digest.String(),
		Pinned:    image.Prefix + definition.Name + "@" + digest.String(),
		Archive:   definition.Name + ".tar",
		Platforms: b.arches,
	}
	if err := b.archive(index, built, before); err != nil {
		return image.Built{}, err
	}
	if b.push != "" {
		built.Pushed, err = image.Push(ctx, index, path.Join(b.push, definition.Name)+":"+definition.TagFor(b.version))
		if err != nil {
			return image.Built{}, err
		}
		say("%s: pushed as %s", definition.Name, built.Pushed)
	}
	say("%s: %s, %s, %.1f s", definition.Name, built.Reference, built.Digest, time.Since(started).Seconds())
	return built, nil
}

// archive leaves a file alone that already holds this image, so that whoever
// compares its time need not load it again.
func (b *builder) archive(index v1.ImageIndex, built, before image.Built) error {
	file := filepath.Join(b.out, built.Archive)
	if _, err := os.Stat(file); err == nil && built.Digest == before.Digest && built.Reference == before.Reference {
		return nil
	}
	return image.WriteArchive(file, index, []string{built.Reference, built.Pinned})
}

func (b *builder) assemble(ctx context.Context, definition image.Definition) (v1.ImageIndex, error) {
	var platforms []image.Platform
	for _, arch := range b.arches {
		platform, err := b.root(ctx, definition.Set, arch)
		if err != nil {
			return nil, err
		}
		layer, err := b.program(ctx, definition, arch)
		if err != nil {
			return nil, err
		}
		platform.Layers = append(slices.Clip(platform.Layers), layer)
		platforms = append(platforms, platform)
	}
	return image.Assemble(definition, b.version, platforms)
}

// program returns the layer of what an image is made for.
func (b *builder) program(ctx context.Context, definition image.Definition, arch string) (v1.Layer, error) {
	layers := filepath.Join(b.cache, "images-build", "layers")
	if definition.Script.Path != "" {
		dir, key, err := b.packager().Tree(ctx, definition)
		if err != nil {
			return nil, err
		}
		return image.RootLayer(dir, filepath.Join(layers, definition.Name+"-"+key+".tar.gz"), func(string) bool { return false })
	}
	program, err := b.compiler.Program(ctx, definition, arch)
	if err != nil {
		return nil, err
	}
	return image.FileLayer(program, definition.Binary.Path, filepath.Join(layers, definition.Name+"-"+arch+".tar.gz"))
}

// root returns the layer of a set. It is packed out of a root of its own, never
// out of one where somebody runs programs and leaves files.
func (b *builder) root(ctx context.Context, name, arch string) (image.Platform, error) {
	if platform, ok := b.roots[name+arch]; ok || name == "" {
		platform.Arch = arch
		return platform, nil
	}
	maker, err := b.maker(ctx, arch)
	if err != nil {
		return image.Platform{}, err
	}
	dir := filepath.Join(b.cache, "images-build", "rootfs", arch, name)
	set := rootfs.Sets()[name]
	set.Devices = false
	stamp, err := maker.Make(ctx, set, dir)
	if err != nil {
		return image.Platform{}, err
	}
	file := filepath.Join(b.cache, "images-build", "layers", stamp.Key()+".tar.gz")
	layer, err := image.RootLayer(dir, file, rootfs.Skip)
	if err != nil {
		return image.Platform{}, err
	}
	platform := image.Platform{Arch: arch, Layers: []v1.Layer{layer}, Packages: rootfs.Inventory(stamp.Packages)}
	b.roots[name+arch] = platform
	return platform, nil
}

func runDigest(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("digest", flag.ExitOnError)
	out := flags.String("out", "", "directory that images were built to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() != 1 {
		return errors.New("give --out DIR and the name of one image")
	}
	catalogue, err := image.ReadCatalogue(*out)
	if err != nil {
		return err
	}
	built, ok := catalogue[flags.Arg(0)]
	if !ok {
		return fmt.Errorf("image %q is not in %s: build it first", flags.Arg(0), filepath.Join(*out, image.CatalogueFile))
	}
	fmt.Println(built.Pinned)
	return nil
}
