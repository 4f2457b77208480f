// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aScript is a repository with a package that depends on another, which it has beside it.
func aScript(t *testing.T) (repo string) {
	t.Helper()
	repo = t.TempDir()
	write(t, repo, map[string]string{
		"greet/main.js":           "import 'words'",
		"greet/package.json":      `{"name":"greet","private":true}`,
		"greet/package-lock.json": `{"name":"greet","lockfileVersion":3,"requires":true,"packages":{"":{"name":"greet"}}}`,
		"greet/README.md":         "not a part of it",
	})
	return repo
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	if err := filepath.WalkDir(dir, func(file string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, strings.TrimPrefix(file, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAScriptIsBroughtOnceUntilItChanges(t *testing.T) {
	repo := aScript(t)
	brought := 0
	packager := Packager{Repo: repo, Cache: t.TempDir(), Say: func(string, ...any) { brought++ }}
	definition := Definition{Name: "greet", Script: Script{Path: "/app", Package: "greet"}}
	first, key, err := packager.Tree(t.Context(), definition)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"app/main.js", "app/package-lock.json", "app/package.json"}, names(t, first)); diff != "" {
		t.Errorf("the folder's files (-want +got):\n%s", diff)
	}
	if again, _, err := packager.Tree(t.Context(), definition); err != nil || again != first || brought != 1 {
		t.Errorf("brought %d times, to %s and %s, %v", brought, first, again, err)
	}
	write(t, repo, map[string]string{"greet/main.js": "import 'other'"})
	if _, other, err := packager.Tree(t.Context(), definition); err != nil || other == key || brought != 2 {
		t.Errorf("a script that has changed is %s like before, %v", other, err)
	}
}

func TestAScriptThatIsNotThereIsNamed(t *testing.T) {
	packager := Packager{Repo: t.TempDir(), Cache: t.TempDir(), Say: t.Logf}
	_, _, err := packager.Tree(t.Context(), Definition{Name: "greet", Script: Script{Path: "/app", Package: "greet"}})
	if err == nil || !strings.Contains(err.Error(), "script of image greet") {
		t.Errorf("got %v", err)
	}
}

func TestAPackageKeepsTheFilesThatAreWantedAndLacksNone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"LICENSE": "free", "lib/wanted.js": "1", "lib/other.js": "2"})
	if err := prune(dir, []string{"LICENSE", "lib/wanted.js"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"LICENSE", "lib/wanted.js"}, names(t, dir)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if err := prune(dir, []string{"LICENSE", "lib/moved.js"}); err == nil || !strings.Contains(err.Error(), "lib/moved.js") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAScriptIsRunByTheNodeOfItsSet(t *testing.T) {
	definition := Definition{Script: Script{Path: "/app"}}
	if diff := cmp.Diff([]string{"/usr/bin/node", "/app/main.js"}, definition.Entrypoint()); diff != "" {
		t.Errorf("entrypoint (-want +got):\n%s", diff)
	}
}
