// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const depends = `pgbouncer
  Depends: postgresql-common
  Depends: libc6
 |Depends: libevent-2.1
  Depends: libevent-old
  Depends: <libvirtual>
    libprovider
postgresql-common
  Depends: libperl
libc6
  Depends: libgcc-s1
  PreDepends: libcrypt1:any
libgcc-s1
  Depends: libc6
libevent-2.1
libprovider
`

func TestClosureFollowsLibrariesAndNothingElse(t *testing.T) {
	follow := func(name string) bool { return strings.HasPrefix(name, "lib") }
	got := walk(parseDepends(depends), []string{"pgbouncer"}, follow)
	want := []string{"libc6", "libcrypt1", "libevent-2.1", "libgcc-s1", "pgbouncer"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("closure (-want +got):\n%s", diff)
	}
}

func TestWhatAptWouldDownloadIsRead(t *testing.T) {
	got, err := parseURIs("'http://a/p/pgbouncer_1.26.1-1_amd64.deb' pgbouncer_1.26.1-1_amd64.deb 275388 SHA256:1f7a\n"+
		"'http://a/u/libuuid1_1%3a2.42+b2_amd64.deb' libuuid1_1%3a2.42+b2_amd64.deb 9 SHA256:ace6\n", "/cache")
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{Name: "pgbouncer", Version: "1.26.1-1", SHA256: "1f7a", File: "/cache/pgbouncer_1.26.1-1_amd64.deb"},
		{Name: "libuuid1", Version: "1:2.42+b2", SHA256: "ace6", File: "/cache/libuuid1_1%3a2.42+b2_amd64.deb"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestAListWithoutStrongChecksumsIsRefused(t *testing.T) {
	for _, line := range []string{
		"'http://a/x_1_amd64.deb' x_1_amd64.deb 9 MD5Sum:00\n", "'http://a/x_1_amd64.deb' x_1_amd64.deb 9 \n", "'http://a/x' x 9 SHA256:00\n",
	} {
		if got, err := parseURIs(line, "/cache"); err == nil {
			t.Errorf("%q was read as %v", line, got)
		}
	}
}

func TestVersionsCompareAsDpkgSays(t *testing.T) {
	for _, c := range []struct {
		version, floor string
		want           bool
	}{
		{"1.26.1-1", "1.26.1", true},
		{"1.26.0-9", "1.26.1", false},
		{"1.26.10-1", "1.26.9", true},
		{"2.0~rc1-1", "2.0", false},
		{"2.1.9+ds1-5", "2.0", true},
		{"1:0.9", "5", true},
		{"18+293", "18", true},
	} {
		got, err := AtLeast(t.Context(), c.version, c.floor)
		if err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%s at least %s: %v, want %v", c.version, c.floor, got, c.want)
		}
	}
}

func TestAProgramsErrorLinesAreKeptAndItsWarningsAreNot(t *testing.T) {
	_, err := run(t.Context(), "sh", "-c", "echo 'W: old lists' >&2; echo 'E: Unable to locate package nonesuch' >&2; exit 100")
	if err == nil || err.Error() != "sh: Unable to locate package nonesuch" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsMissingIsSaidInWords(t *testing.T) {
	t.Run("no apt", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if err := RequireTools(); err == nil || !strings.Contains(err.Error(), "apt-get, apt-cache, apt-config, dpkg, dpkg-deb not found") {
			t.Errorf("got %v", err)
		}
	})
	for name, c := range map[string]struct {
		apt  Apt
		want string
	}{
		"no keyring": {Apt{Keyring: "/nonexistent.gpg"}, "install the package debian-archive-keyring"},
		"no mirror":  {Apt{Keyring: "/dev/null"}, "name it with --mirror URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c.apt.Cache = t.TempDir()
			if err := c.apt.Update(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
