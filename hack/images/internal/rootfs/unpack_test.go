// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// aTar holds the entries in order; regular files hold their own name.
func aTar(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, header := range entries {
		if header.Typeflag == tar.TypeReg {
			header.Size = int64(len(header.Name))
		}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(header.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buffer
}

func openRoot(t *testing.T) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return dir, root
}

func all(string) bool { return true }

func TestOldPlacesLandBelowUsr(t *testing.T) {
	dir, root := openRoot(t)
	if err := layout(root); err != nil {
		t.Fatal(err)
	}
	stream := aTar(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./bin/true", Mode: 0o4755},
		tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/false", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeLink, Name: "./bin/hard", Linkname: "./bin/true"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./sbin/soft", Linkname: "/bin/true"},
	)
	if err := unpack(root, stream, all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/bin/true", "bin/true", "bin/false", "bin/hard"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o755 {
			t.Errorf("%s has mode %v, want 0755 and no setuid", name, info.Mode())
		}
	}
	if target, err := root.Readlink("usr/sbin/soft"); err != nil || target != "/bin/true" {
		t.Errorf("usr/sbin/soft leads to %q, %v", target, err)
	}
	if info, err := root.Stat("tmp"); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("tmp: %v, %v", info.Mode(), err)
	}
}

func TestAPackageCannotWriteOutsideItsRoot(t *testing.T) {
	outside := t.TempDir()
	dir, root := openRoot(t)
	stream := aTar(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "../../escaped", Mode: 0o644},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "way/out", Linkname: outside},
		tar.Header{Typeflag: tar.TypeReg, Name: "way/out/file", Mode: 0o644},
	)
	if err := unpack(root, stream, all); err == nil {
		t.Error("writing through a link out of the root went well")
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped")); err != nil {
		t.Errorf("dots were not resolved inside the root: %v", err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("a file landed outside: %v", entries)
	}
}

func TestAnEntryThatIsNoFileOrLinkIsRefused(t *testing.T) {
	_, root := openRoot(t)
	err := unpack(root, aTar(t, tar.Header{Typeflag: tar.TypeChar, Name: "dev/kmem"}), all)
	if err == nil || !strings.Contains(err.Error(), "dev/kmem") {
		t.Errorf("got %v", err)
	}
}

func TestASetKeepsWhatRunsAndWhatTheLicencesAskFor(t *testing.T) {
	set := Set{Drop: []string{"etc/default/"}, Only: onlyCert}
	for name, want := range map[string]bool{
		"usr/sbin/pgbouncer":                        true,
		"usr/share/doc/pgbouncer/copyright":         true,
		"usr/share/doc/pgbouncer/README":            false,
		"usr/share/doc":                             false,
		"usr/share/man/man1/pgbouncer.1.gz":         false,
		"usr/lib/x86_64-linux-gnu/gconv/UTF-16.so":  false,
		"usr/lib/x86_64-linux-gnu/libc.so.6":        true,
		"etc/default/pgbouncer":                     false,
		"etc/init.d/pgbouncer":                      false,
		"usr/share/documentation-of-something-else": true,
	} {
		if got := set.wanted("pgbouncer", name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if set.wanted("ca-certificates", "usr/sbin/update-ca-certificates") || !set.wanted("ca-certificates", "usr/share/ca-certificates/mozilla/a.crt") {
		t.Error("of ca-certificates only the certificates are wanted")
	}
}
