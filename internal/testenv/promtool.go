// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// promtoolTimeout is for a busy machine; promtool takes a second.
const promtoolTimeout = 2 * time.Minute

// Promtool runs Prometheus' promtool beside files, which it finds by their names, and
// returns all it said.
func Promtool(t testing.TB, files map[string][]byte, args ...string) (output string, err error) {
	t.Helper()
	root := Rootfs(t, "prometheus")
	outside, inside := RunDir(t, root)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(outside, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), promtoolTimeout)
	defer cancel()
	cmd := CommandContext(ctx, t, root, "/usr/bin/promtool", args...)
	cmd.Dir = inside
	said, err := cmd.CombinedOutput()
	return string(said), err
}
