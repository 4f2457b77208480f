// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command release makes everything that a version of Poolfleet consists of: images,
// chart, manifests, the kubectl plugin, a list of what is in each, and checksums. It
// publishes nothing, and the same sources give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// release is one run.
type release struct {
	// repo is the repository, out the directory for what is made, and bin holds helm, kubectl and images.
	repo, out, bin string
	version        string
	// registry is where the images will be found; without one the chart leaves it to who installs it.
	registry string
	// baseURL is where the release's files will be found.
	baseURL string
	arches  string
}

// versions as Helm takes them: SemVer 2, without a leading v.
var versions = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	syscall.Umask(0o022) // What is packed has the same permissions whoever packs it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "release: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var r release
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.repo, "repo", ".", "the repository")
	flags.StringVar(&r.out, "out", "", "directory to make (default: .cache/release/VERSION of the repository)")
	flags.StringVar(&r.bin, "bin", "", "directory of helm, kubectl and images (default: .cache/bin of the repository)")
	flags.StringVar(&r.version, "version", "", "version, such as 0.1.0")
	flags.StringVar(&r.registry, "registry", "", "REGISTRY/PATH that the chart and the manifests name")
	flags.StringVar(&r.baseURL, "base-url", "", "where the files will be (default: the release on GitHub)")
	flags.StringVar(&r.arches, "arch", "amd64,arm64", "architectures of the images, joined by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := r.complete(); err != nil {
		return err
	}
	if err := r.clean(ctx); err != nil {
		return err
	}
	return r.make(ctx)
}

// complete fills in what was not given, and looks at what was.
func (r *release) complete() error {
	if !versions.MatchString(r.version) {
		return fmt.Errorf("--version %q is not one such as 0.1.0 or 0.2.0-rc.1", r.version)
	}
	if r.out == "" {
		r.out = filepath.Join(r.repo, ".cache", "release", r.version)
	}
	if r.baseURL == "" {
		r.baseURL = "https://github.com/poolfleet/poolfleet/releases/download/v" + r.version
	}
	if r.bin == "" {
		r.bin = filepath.Join(r.repo, ".cache", "bin")
	}
	if err := absolute(&r.repo, &r.out, &r.bin); err != nil {
		return err
	}
	if _, err := os.Stat(r.out); err == nil {
		return fmt.Errorf("%s is there already: a release is made once; remove it to make it anew", r.out)
	}
	return nil
}

// absolute makes paths mean the same to programs that run elsewhere.
func absolute(paths ...*string) error {
	for _, path := range paths {
		whole, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("finding %s: %w", *path, err)
		}
		*path = whole
	}
	return nil
}

// clean refuses a tree that nobody else could have: a release is of a commit.
func (r *release) clean(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "git", "-C", r.repo, "status", "--porcelain", "--untracked-files=all")
	dirt, err := output(cmd)
	if err != nil {
		return fmt.Errorf("asking git what is not committed: %w", err)
	}
	if dirt != "" {
		return fmt.Errorf("a release is of a commit, and these files differ from it:\n%s", dirt)
	}
	return nil
}

// make leaves out either whole or absent.
func (r *release) make(ctx context.Context) error {
	final := r.out
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return fmt.Errorf("making the release's directory: %w", err)
	}
	staging, err := os.MkdirTemp(filepath.Dir(final), "new-")
	if err != nil {
		return fmt.Errorf("making the release's directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	r.out = staging
	digests, err := r.images(ctx)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, map[string]string) error{r.chart, r.manifests, r.plugin, r.krew} {
		if err := step(ctx, digests); err != nil {
			return err
		}
	}
	if err := writeSums(staging); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(staging, 0o755), os.Rename(staging, final)); err != nil {
		return fmt.Errorf("putting the release in its place: %w", err)
	}
	fmt.Println(final)
	return nil
}

// tool runs one of the programs in bin.
func (r *release) tool(ctx context.Context, name string, args ...string) (string, error) {
	path := filepath.Join(r.bin, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("looking for %s: %w: `make release` builds it first", name, err)
	}
	return output(exec.CommandContext(ctx, path, args...))
}

// output runs a program; its error has what the program said.
func output(cmd *exec.Cmd) (string, error) {
	var said, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", filepath.Base(cmd.Path), err, strings.TrimSpace(complaint.String()))
	}
	return said.String(), nil
}
