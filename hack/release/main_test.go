// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const top = "../.."

// made are digests as images.json has them.
var made = map[string]string{
	"manager":           "sha256:" + strings.Repeat("1", 64),
	"pooler":            "sha256:" + strings.Repeat("2", 64),
	"edge":              "sha256:" + strings.Repeat("3", 64),
	"accelerate-legacy": "sha256:" + strings.Repeat("4", 64),
}

// aRepository copies what a release reads of the repository, with a small program in
// the plugin's place, into a directory whose name no other has.
func aRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"charts", "config"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(top, part))); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"LICENSE":                       "a license\n",
		"go.mod":                        "module example.com/small\n\ngo 1.26.0\n",
		"cmd/kubectl-poolfleet/main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// aRelease makes all but the images, and the plugin for one platform.
func aRelease(t *testing.T, registry string) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(top, ".cache", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	r := release{repo: aRepository(t), out: t.TempDir(), bin: bin, version: "1.2.3", registry: registry}
	plugin := func(ctx context.Context, _ map[string]string) error { return r.pluginFor(ctx, "linux", "amd64") }
	for _, step := range []func(context.Context, map[string]string) error{r.chart, r.manifests, plugin} {
		if err := step(t.Context(), made); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSums(r.out); err != nil {
		t.Fatal(err)
	}
	return r.out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTwoReleasesFromTwoDirectoriesAreTheSame(t *testing.T) {
	first, second := aRelease(t, ""), aRelease(t, "")
	sums := read(t, filepath.Join(first, sumsFile))
	if diff := cmp.Diff(sums, read(t, filepath.Join(second, sumsFile))); diff != "" {
		t.Errorf("checksums differ (-first +second):\n%s", diff)
	}
	for _, name := range []string{"poolfleet-1.2.3.tgz", "poolfleet.yaml", "poolfleet-with-edge.yaml", "kubectl-poolfleet_1.2.3_linux_amd64.tar.gz", "kubectl-poolfleet_1.2.3_linux_amd64.cdx.json"} {
		if !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("%s is not among\n%s", name, sums)
		}
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", sumsFile)
	check.Dir = first
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("checking the checksums: %v\n%s", err, said)
	}
}

func TestAChartInstallsTheImagesItWasReleasedWith(t *testing.T) {
	dir := aRelease(t, "registry.example.com/poolfleet")
	r := release{bin: filepath.Join(top, ".cache", "bin")}
	rendered, err := r.tool(t.Context(), "helm", "template", filepath.Join(dir, "poolfleet-1.2.3.tgz"),
		"--set", "edge.enabled=true,edge.domain=edge.example.com,edge.tls.secretName=tls,edge.accelerateLegacy.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	for name, digest := range made {
		if !strings.Contains(rendered, "registry.example.com/poolfleet/"+name+"@"+digest) {
			t.Errorf("the chart does not name %s by its digest", name)
		}
	}
	if !strings.Contains(rendered, "app.kubernetes.io/version: 1.2.3") && !strings.Contains(rendered, `app.kubernetes.io/version: "1.2.3"`) {
		t.Error("the chart does not have the release's version")
	}
}

func TestManifestsNameTheImagesByDigest(t *testing.T) {
	dir := aRelease(t, "registry.example.com/poolfleet")
	for file, names := range map[string][]string{
		"poolfleet.yaml":           {"manager", "pooler"},
		"poolfleet-with-edge.yaml": {"manager", "pooler", "edge"},
	} {
		text := read(t, filepath.Join(dir, file))
		for _, name := range names {
			if !strings.Contains(text, "registry.example.com/poolfleet/"+name+"@"+made[name]) {
				t.Errorf("%s does not name %s by its digest", file, name)
			}
		}
		if strings.Contains(text, local) {
			t.Errorf("%s has an image that no registry has", file)
		}
	}
}

func TestKrewsManifestNamesTheArchives(t *testing.T) {
	r := release{repo: t.TempDir(), out: t.TempDir(), version: "1.2.3", baseURL: "https://example.com/v1.2.3/"}
	template := filepath.Join(r.repo, "hack", "krew", "poolfleet.yaml")
	if err := os.MkdirAll(filepath.Dir(template), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(template, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, platform := range platforms {
		archive := filepath.Join(r.out, pluginName+"_1.2.3_"+strings.ReplaceAll(platform, "/", "_")+".tar.gz")
		if err := os.WriteFile(archive, []byte("abc"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# {{NOTHING}}\nversion: \"v{{VERSION}}\"\nuri: \"{{BASE_URL}}/x_{{VERSION}}.tar.gz\"\nsha256: \"{{SHA256_windows_arm64}}\"\n")
	if err := r.krew(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	// Source of the sum: FIPS 180-2, the example of "abc".
	want := "version: \"v1.2.3\"\nuri: \"https://example.com/v1.2.3/x_1.2.3.tar.gz\"\n" +
		"sha256: \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n"
	if diff := cmp.Diff(want, read(t, filepath.Join(r.out, "krew.yaml"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	write(read(t, filepath.Join(top, "hack", "krew", "poolfleet.yaml")))
	if err := r.krew(t.Context(), nil); err != nil {
		t.Errorf("our own template: %v", err)
	}
	write("sha256: {{SHA256_plan9_mips}}\n")
	if err := r.krew(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "SHA256_plan9_mips") {
		t.Errorf("got %v", err)
	}
}

func TestAReleaseIsOfACommitAndMadeOnce(t *testing.T) {
	dir := t.TempDir()
	if said, err := exec.CommandContext(t.Context(), "git", "init", "--quiet", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := os.WriteFile(filepath.Join(dir, "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]struct {
		args []string
		want string
	}{
		"a file is not committed":    {[]string{"--version", "1.2.3", "--repo", dir}, "stray"},
		"the release is there":       {[]string{"--version", "1.2.3", "--repo", dir, "--out", dir}, "made once"},
		"the version is none":        {[]string{"--version", "latest", "--repo", dir}, `"latest" is not one`},
		"Helm takes no v before one": {[]string{"--version", "v1.2.3", "--repo", dir}, `"v1.2.3" is not one`},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), refused.args)
			if err == nil || !strings.Contains(err.Error(), refused.want) {
				t.Errorf("got %v, want it to say %s", err, refused.want)
			}
		})
	}
}

func TestAValueThatIsNotThereIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	for _, text := range []string{"image:\n  digest: \"\"\n", "image:\n  digest: set\npoolerImage: {digest: set}\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := release{}
		if err := r.values(file, made); err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("got %v for %q", err, text)
		}
	}
}
