// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/poolfleet/poolfleet/hack/images/internal/image"
)

func TestBuildWritesArchiveListAndRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	defer server.Close()
	host, out, cache := strings.TrimPrefix(server.URL, "http://"), t.TempDir(), t.TempDir()
	build := func() image.Built {
		t.Helper()
		if err := runBuild(t.Context(), []string{"--out", out, "--cache", cache, "--push", host + "/fleet", "pause"}); err != nil {
			t.Fatal(err)
		}
		built, err := image.ReadCatalogue(out)
		if err != nil {
			t.Fatal(err)
		}
		return built["pause"]
	}
	first := build()
	if first.Pinned != "localhost/poolfleet/pause@"+first.Digest || first.Pushed != host+"/fleet/pause@"+first.Digest {
		t.Errorf("built %+v", first)
	}
	before, err := os.Stat(filepath.Join(out, first.Archive))
	if err != nil {
		t.Fatal(err)
	}
	if second := build(); second.Digest != first.Digest {
		t.Errorf("built twice: %s and %s", first.Digest, second.Digest)
	}
	after, err := os.Stat(filepath.Join(out, first.Archive))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("an archive that holds the image already was written again: %v", err)
	}
}

func TestUnusableCommandLinesAreRefusedBeforeAnyWork(t *testing.T) {
	for name, c := range map[string]struct {
		run  func() error
		want string
	}{
		"an unknown set": {
			func() error { return runRootfs(t.Context(), []string{"--set", "nonesuch", "--out", t.TempDir()}) },
			"one of node, nodejs, pgbouncer, postgres, prometheus, static",
		},
		"an unknown architecture": {
			func() error {
				return runRootfs(t.Context(), []string{"--set", "node", "--arch", "m68k", "--cache", t.TempDir(), "--out", t.TempDir()})
			},
			"take amd64 or arm64",
		},
		"an unknown image": {
			func() error { return runBuild(t.Context(), []string{"--out", t.TempDir(), "nonesuch"}) }, `no image "nonesuch"`,
		},
		"a program for an unknown image": {
			func() error {
				return runBuild(t.Context(), []string{"--out", t.TempDir(), "--binary", "nonesuch=/bin/true", "pause"})
			},
			`no image "nonesuch"`,
		},
		"an image not built": {
			func() error { return runDigest(t.Context(), []string{"--out", t.TempDir(), "pause"}) }, "build it first",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.run(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
