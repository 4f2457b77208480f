// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/poolfleet/poolfleet/hack/images/internal/debian"
)

// shelf is an Archive of package files on disk; it counts how often it is asked.
type shelf struct {
	packages []debian.Package
	mu       sync.Mutex
	fetched  int
}

func (*shelf) Update(context.Context) error { return nil }

func (s *shelf) Fetch(context.Context, []string, func(string) bool) ([]debian.Package, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	return s.packages, nil
}

// aPackage builds a real package that holds the named files.
func aPackage(t *testing.T, name, version string, files map[string]string) debian.Package {
	t.Helper()
	dir := t.TempDir()
	control := "Package: " + name + "\nVersion: " + version + "\nArchitecture: all\nMaintainer: nobody\nDescription: test\n"
	putFile(t, dir, "DEBIAN/control", []byte(control))
	if err := os.Chmod(filepath.Join(dir, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		putFile(t, dir, path, []byte(content))
	}
	file := filepath.Join(t.TempDir(), name+".deb")
	if out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", dir, file).CombinedOutput(); err != nil {
		t.Fatalf("building a package for the test (needs Debian's dpkg): %v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return debian.Package{Name: name, Version: version, SHA256: hex.EncodeToString(sum[:]), File: file}
}

func aSet() Set {
	return Set{
		Name: "test", Follow: "^lib", Avoid: "^$", Only: onlyCert,
		Programs: []Program{{"tool", "2.0"}, {"ca-certificates", ""}},
		Links:    map[string]string{"usr/bin": "usr/lib/tool/*/bin/*"},
		Users:    []User{root, {"pooler", PoolerID, "/"}},
	}
}

// newMaker has a tool of that version to offer.
func newMaker(t *testing.T, version string) (*Maker, *shelf) {
	t.Helper()
	archive := &shelf{packages: []debian.Package{
		aPackage(t, "ca-certificates", "1", map[string]string{
			"usr/share/ca-certificates/mozilla/b.crt": "B\n", "usr/share/ca-certificates/mozilla/a.crt": "A",
			"usr/sbin/update-ca-certificates": "#!/bin/sh\n",
		}),
		aPackage(t, "tool", version, map[string]string{"usr/lib/tool/2/bin/tool": "tool " + version, "bin/old": "old"}),
	}}
	return &Maker{Archive: archive, Suite: "forky", Arch: "amd64", Cache: t.TempDir(), Say: t.Logf}, archive
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestARootHasItsFilesUsersCertificatesAndInventory(t *testing.T) {
	maker, _ := newMaker(t, "2.1-1")
	dir := filepath.Join(t.TempDir(), "root")
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/ssl/certs/ca-certificates.crt": "A\nB\n",
		"usr/share/poolfleet/packages.txt":  "ca-certificates 1\ntool 2.1-1\n",
		"etc/passwd":                        "root:x:0:0:root:/root:/bin/sh\npooler:x:65532:65532:pooler:/:/usr/sbin/nologin\n",
		"etc/group":                         "root:x:0:\npooler:x:65532:\n",
		"bin/old":                           "old",
		"usr/lib/tool/2/bin/tool":           "tool 2.1-1",
		"var/lib/dpkg/status.d/tool":        "Package: tool\nVersion: 2.1-1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n",
		"etc/nsswitch.conf":                 switches,
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "usr/bin/tool")); err != nil || target != "../lib/tool/2/bin/tool" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/sbin/update-ca-certificates")); err == nil {
		t.Error("a shell script came along with the certificates")
	}
}

func TestARootThatIsThereAsksNothingOfDebian(t *testing.T) {
	maker, archive := newMaker(t, "2.1")
	dir := filepath.Join(t.TempDir(), "root")
	for range 2 {
		if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if archive.fetched != 1 {
		t.Errorf("packages were fetched %d times", archive.fetched)
	}
}

func TestAChangedSetMakesTheRootAnew(t *testing.T) {
	maker, _ := newMaker(t, "2.1")
	dir := filepath.Join(t.TempDir(), "root")
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	set := aSet()
	set.Drop = []string{"usr/bin/old"}
	if _, err := maker.Make(t.Context(), set, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bin/old")); err == nil {
		t.Error("what the set no longer wants is still there")
	}
}

func TestRefreshReplacesARootOnlyForNewerPackages(t *testing.T) {
	maker, archive := newMaker(t, "2.1")
	maker.Refresh = true
	dir := filepath.Join(t.TempDir(), "root")
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	putFile(t, dir, "tmp/in-use", []byte("x"))
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	read(t, dir, "tmp/in-use")
	archive.packages[1] = aPackage(t, "tool", "2.2", map[string]string{"usr/lib/tool/2/bin/tool": "tool 2.2"})
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "usr/lib/tool/2/bin/tool"); got != "tool 2.2" {
		t.Errorf("the root holds %q", got)
	}
}

func TestAMissedFloorNamesPackageFoundAndWanted(t *testing.T) {
	maker, _ := newMaker(t, "1.9-3")
	_, err := maker.Make(t.Context(), aSet(), filepath.Join(t.TempDir(), "root"))
	if err == nil || !strings.Contains(err.Error(), "package tool: Debian forky has 1.9-3, at least 2.0 is needed") {
		t.Errorf("got %v", err)
	}
}

func TestAFailedRootLeavesTheOldOneInPlace(t *testing.T) {
	maker, _ := newMaker(t, "2.1")
	dir := filepath.Join(t.TempDir(), "root")
	if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
		t.Fatal(err)
	}
	set := aSet()
	set.Links = map[string]string{"usr/bin": "usr/lib/nowhere/*"}
	if _, err := maker.Make(t.Context(), set, dir); err == nil || !strings.Contains(err.Error(), "nothing matches /usr/lib/nowhere/*") {
		t.Errorf("got %v", err)
	}
	read(t, dir, "usr/lib/tool/2/bin/tool")
}

func TestADirectoryOfSomeoneElseIsLeftAlone(t *testing.T) {
	maker, _ := newMaker(t, "2.1")
	dir := t.TempDir()
	putFile(t, dir, "precious", []byte("mine"))
	if _, err := maker.Make(t.Context(), aSet(), dir); err == nil || !strings.Contains(err.Error(), "was not made by this program") {
		t.Errorf("got %v", err)
	}
	read(t, dir, "precious")
}

func TestRunsAtTheSameTimeMakeOneRoot(t *testing.T) {
	maker, archive := newMaker(t, "2.1")
	dir := filepath.Join(t.TempDir(), "root")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := maker.Make(t.Context(), aSet(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if archive.fetched != 1 {
		t.Errorf("packages were fetched %d times", archive.fetched)
	}
	read(t, dir, "usr/lib/tool/2/bin/tool")
}

func TestEverySetIsWellFormed(t *testing.T) {
	for name, set := range Sets() {
		if name != set.Name || len(set.Programs) == 0 {
			t.Errorf("set %q calls itself %q and has %d programs", name, set.Name, len(set.Programs))
		}
		follow, avoid := regexp.MustCompile(set.Follow), regexp.MustCompile(set.Avoid)
		for _, library := range []string{"libc6", "libssl3t64", "zlib1g", "libcap-ng0", "libcom-err2", "libpam0g", "libproc2-1"} {
			if !follow.MatchString(library) || avoid.MatchString(library) {
				t.Errorf("set %s does not follow %s", name, library)
			}
		}
		for _, other := range []string{"perl", "debconf", "libperl5.42", "libpam-modules", "libc-gconv-modules-extra", "libsemanage-common", "postgresql-common"} {
			if follow.MatchString(other) && !avoid.MatchString(other) {
				t.Errorf("set %s follows %s", name, other)
			}
		}
	}
}
