// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAProgramCarriesItsVersion(t *testing.T) {
	compiler := Compiler{Repo: "../..", Cache: t.TempDir(), Version: "1.2.3", Say: t.Logf}
	program, err := compiler.Program(t.Context(), hello, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program).Output()
	if err != nil || string(out) != "hello 1.2.3\n" {
		t.Errorf("it says %q, %v", out, err)
	}
}

func TestAPrebuiltProgramIsTakenOnlyIfAnImageCanRunIt(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := Compiler{Prebuilt: map[string]string{"hello": script}, Say: t.Logf}
	if _, err := compiler.Program(t.Context(), hello, "amd64"); err == nil || !strings.Contains(err.Error(), "reading program "+script) {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatIsNotInTheRepositoryIsNamed(t *testing.T) {
	missing := Definition{Name: "absent", Binary: Binary{Package: "./cmd/absent", Module: "."}}
	_, err := Compiler{Repo: t.TempDir(), Say: t.Logf}.Program(t.Context(), missing, "amd64")
	if err == nil || !strings.Contains(err.Error(), "cmd/absent") || !strings.Contains(err.Error(), "--binary absent=FILE") {
		t.Errorf("got %v", err)
	}
}

func TestWhatTheCompilerSaysReachesTheCaller(t *testing.T) {
	repo := t.TempDir()
	for file, text := range map[string]string{"go.mod": "module broken\n", "main.go": "package main\nfunc main() { missing() }\n"} {
		if err := os.WriteFile(filepath.Join(repo, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broken := Definition{Name: "broken", Binary: Binary{Package: ".", Module: "."}}
	_, err := Compiler{Repo: repo, Cache: t.TempDir(), Say: t.Logf}.Program(t.Context(), broken, runtime.GOARCH)
	if err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("got %v", err)
	}
}

func TestTheListOfImagesOutlivesABuildOfAFew(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadCatalogue(dir); err != nil || len(got) != 0 {
		t.Fatalf("an empty directory has %v, %v", got, err)
	}
	want := map[string]Built{
		"pause":   {Reference: "localhost/poolfleet/pause:1", Digest: "sha256:00", Platforms: []string{"amd64"}},
		"manager": {Reference: "localhost/poolfleet/manager:dev", Digest: "sha256:01", Platforms: []string{"arm64"}},
	}
	if err := WriteCatalogue(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCatalogue(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestImagesAreSelectedByName(t *testing.T) {
	everything, err := Select(nil)
	if err != nil || len(everything) != len(Definitions()) {
		t.Errorf("no name selects %d images, %v", len(everything), err)
	}
	one, err := Select([]string{"pause"})
	if err != nil || len(one) != 1 || one[0].Reference("dev") != "localhost/poolfleet/pause:1" {
		t.Errorf("pause selects %v, %v", one, err)
	}
	if _, err := Select([]string{"nonesuch"}); err == nil || !strings.Contains(err.Error(), `no image "nonesuch"; there are pause manager pooler edge accelerate-legacy postgres`) {
		t.Errorf("got %v", err)
	}
}

func TestEveryImageRunsAsAnUnprivilegedUserUnderAnUnpullableName(t *testing.T) {
	for _, definition := range Definitions() {
		if definition.User != "65532:65532" || !strings.HasPrefix(definition.Reference("dev"), "localhost/") {
			t.Errorf("%s runs as %q under %s", definition.Name, definition.User, definition.Reference("dev"))
		}
	}
}
