// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// projects is where `make e2e-edge` brings the packages of testdata/accelerate.
const projects = top + "/.cache/prisma-projects"

// recipe is what an application is built and run with, as people write it down: the URL
// of Accelerate in the variables of wrangler.toml, the database's own in .env. Prisma's
// CLI fetches engines from the Internet before it looks whether it needs them: files
// that are there stand in for them.
const recipe = `set -euo pipefail
trap 'trap "" TERM; kill 0' EXIT
export PRISMA_QUERY_ENGINE_LIBRARY=/bin/true PATH="$PATH:%s"
npx prisma generate %s
NODE_EXTRA_CA_CERTS=gateway.crt wrangler dev >dev.log 2>&1 &
until node -e 'fetch("http://localhost:8787/%s").then(async (r) => console.log(await r.text()), () => process.exit(1))' >answer; do
	kill -0 $! || { cat dev.log; exit 1; }; sleep 0.2
done
`

// configuration is wrangler.toml, but for the value of its variable.
const configuration = `name = "accounts"
main = "src/index.js"
compatibility_date = "2026-10-01"
compatibility_flags = ["nodejs_compat"]

[vars]
DATABASE_URL = %q
`

// accelerates follows the recipe with each major version of Prisma. Results of the older
// protocol are not cached.
func (s *shop) accelerates(t *testing.T) {
	wrangler, err := filepath.Abs(filepath.Join(bundles, "node_modules", ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, flags string
		cached      []string
	}{
		{"prisma5", "--no-engine", []string{"none", "none"}},
		{"prisma6", "--no-engine", []string{"none", "none"}},
		{"prisma7", "", []string{"miss", "ttl"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := s.project(t, test.name)
			s.follow(t, dir, fmt.Sprintf(recipe, wrangler, test.flags, test.name))
			answer, err := os.ReadFile(filepath.Join(dir, "answer"))
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(answer, &got); err != nil {
				t.Fatalf("the Worker answers %s", answer)
			}
			if diff := cmp.Diff(done(test.name, test.cached), got); diff != "" {
				t.Errorf("what the application sees (-want +got):\n%s", diff)
			}
		})
	}
}

// done is what the Worker of testdata/accelerate tells of itself.
func done(id string, cached []string) map[string]any {
	want := map[string]any{
		"created": map[string]any{"id": id, "balance": 100.0}, "conflict": "P2002", "missing": "P2025",
		"batch": 90.0, "undone": "P2002", "oneBackend": true, "thrown": "changed my mind",
		"raw": []any{map[string]any{"id": id, "two": 2.0}},
	}
	var seen []any
	for _, status := range cached {
		seen = append(seen, map[string]any{"status": status, "balance": 70.0})
	}
	want["cached"] = seen
	return want
}

// project makes an application's directory.
func (s *shop) project(t *testing.T, name string) string {
	t.Helper()
	packages, err := filepath.Abs(filepath.Join(projects, name, "node_modules"))
	if err == nil {
		_, err = os.Stat(packages)
	}
	if err != nil {
		t.Fatalf("finding the packages of %s, which `make .cache/stamps/prisma-projects` brings: %v", name, err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata/accelerate", name))); err != nil {
		t.Fatal(err)
	}
	worker, err := os.ReadFile("testdata/accelerate/index.js")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"src/index.js": string(worker), "wrangler.toml": fmt.Sprintf(configuration, s.published(t, "ACCELERATE_URL")),
		".env": "DIRECT_URL=" + s.published(t, "DIRECT_URL") + "\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}
