// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/poolfleet/poolfleet/hack/images/internal/rootfs"
)

// Compiler builds the Go programs that go into images.
type Compiler struct {
	// Repo is the repository that a Binary's Module is relative to.
	Repo string
	// Cache is the folder for what is built.
	Cache string
	// Version is linked into main.version.
	Version string
	// Prebuilt maps an image's name to a program that is taken as it is.
	Prebuilt map[string]string
	// Say receives progress, one line each.
	Say func(format string, args ...any)
}

// Program returns the path of an image's static program for Linux on arch.
func (c Compiler) Program(ctx context.Context, definition Definition, arch string) (string, error) {
	program, ok := c.Prebuilt[definition.Name]
	if !ok {
		built, err := c.build(ctx, definition, arch)
		if err != nil {
			return "", err
		}
		program = built
	}
	return program, rootfs.CheckStatic(program, arch)
}

// build gives the same bytes for the same sources: no paths, no build id and no
// commit are in them.
func (c Compiler) build(ctx context.Context, definition Definition, arch string) (string, error) {
	module := filepath.Join(c.Repo, definition.Binary.Module)
	if _, err := os.Stat(filepath.Join(module, definition.Binary.Package)); err != nil {
		return "", fmt.Errorf("building the program of image %s: %w: name a built one with --binary %s=FILE, or name the images to build",
			definition.Name, err, definition.Name)
	}
	c.Say("%s: building %s for %s (minutes where Go's build cache is empty)", definition.Name, definition.Binary.Package, arch)
	out := filepath.Join(c.Cache, "bin", arch, definition.Name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+c.Version, "-o", out, definition.Binary.Package)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building the program of image %s: %w\n%s", definition.Name, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
