// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden page anew")

func TestAPageSaysAllThatADefinitionAndItsTypesSay(t *testing.T) {
	out := t.TempDir()
	if err := run("testdata/config", "testdata/types", out); err != nil {
		t.Fatal(err)
	}
	got := content(t, filepath.Join(out, "kettle.md"))
	const golden = "testdata/kettle.md"
	if *update {
		put(t, golden, got)
	}
	if diff := cmp.Diff(content(t, golden), got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestASampleIsFoundListedOrNot(t *testing.T) {
	cases := map[string]struct {
		file, old, new string
		want           bool
	}{
		"listed":     {"samples/kustomization.yaml", "  - water.yaml\n", "", true},
		"not listed": {"samples/kustomization.yaml", "  - kettle.yaml\n", "", true},
		"none":       {"samples/kettle.yaml", "kind: Kettle", "kind: Pot", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			if err := run(changed(t, "config", tc.file, tc.old, tc.new), "testdata/types", out); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(content(t, filepath.Join(out, "kettle.md")), "## Example"); got != tc.want {
				t.Errorf("an example is there: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestWhatDoesNotFitTogetherIsRefused(t *testing.T) {
	const definition = "crd/bases/example.dev_kettles.yaml"
	cases := map[string]struct{ tree, file, old, new, want string }{
		"a type without one of the fields":      {"types", "kettle.go", "`json:\"tags,omitempty\"`", "", "run controller-gen first"},
		"a type with a field of another name":   {"types", "kettle.go", "json:\"tags,", "json:\"marks,", "run controller-gen first"},
		"a type that does not parse":            {"types", "kettle.go", "type Kettle struct {", "type Kettle {", "parsing Go types"},
		"a definition of two versions":          {"config", definition, "  versions:\n", "  versions:\n  - name: v0\n", "it has 2 versions"},
		"a definition without a status":         {"config", definition, "          status:\n", "          state:\n", "it has no status"},
		"a definition that is no YAML":          {"config", definition, "apiVersion:", "\t", "parsing"},
		"a sample that is listed and not there": {"config", "samples/kustomization.yaml", "water", "tea", "reading a sample"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			trees := map[string]string{"config": "testdata/config", "types": "testdata/types"}
			trees[tc.tree] = changed(t, tc.tree, tc.file, tc.old, tc.new)
			err := run(trees["config"], trees["types"], t.TempDir())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}

func TestEmptyDirectoriesAreRefused(t *testing.T) {
	for _, err := range []error{
		run(t.TempDir(), "testdata/types", t.TempDir()),
		run("testdata/config", t.TempDir(), t.TempDir()),
	} {
		if err == nil {
			t.Error("nothing to write about was accepted")
		}
	}
}

// changed is a copy of a tree of testdata with a change to one file.
func changed(t *testing.T, tree, file, from, to string) string {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(filepath.Join("testdata", tree))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(copied, file)
	before := content(t, path)
	after := strings.Replace(before, from, to, 1)
	if before == after {
		t.Fatalf("%s does not have %q", file, from)
	}
	put(t, path, after)
	return copied
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
