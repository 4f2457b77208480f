// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/poolfleet/poolfleet/hack/images/internal/debian"
)

// dropped is left out of every set: what people read, translations, and what
// starts services on a machine that boots. Copyright files stay (see wanted),
// because their licences ask for it.
var dropped = []string{
	"usr/share/doc/", "usr/share/doc-base/", "usr/share/man/", "usr/share/info/", "usr/share/locale/",
	"usr/share/lintian/", "usr/share/bug/", "usr/share/bash-completion/", "usr/share/zsh/", "usr/share/gcc/",
	"usr/share/apport/", "usr/share/initramfs-tools/", "usr/share/menu/", "usr/share/debianutils/",
	"usr/lib/systemd/", "usr/lib/tmpfiles.d/", "usr/lib/sysusers.d/", "usr/lib/udev/",
	"etc/init.d/", "etc/cron.daily/", "etc/logrotate.d/", "etc/pam.d/", "var/lib/systemd/",
}

// wanted reports whether a package's file belongs into the root.
func (s Set) wanted(pkg, name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") && path.Base(name) == "copyright" {
		return true
	}
	if only, ok := s.Only[pkg]; ok {
		return hasPrefix(name, only)
	}
	return !hasPrefix(name, dropped) && !hasPrefix(name, s.Drop) && !strings.Contains(name, "/gconv/")
}

func hasPrefix(name string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if name == prefix || strings.HasPrefix(name+"/", prefix) {
			return true
		}
	}
	return false
}

// merged are the directories that a usr-merged system keeps below /usr.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// place is where an entry of a package lands: without a leading ./, and below
// usr for what older packages put beside it. It is empty for the root itself.
func place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged, top) {
		return "usr/" + name
	}
	return name
}

// unpackAll puts the wanted files of all packages into root, which then has the
// usr-merge links, and the directories any program may expect.
func unpackAll(ctx context.Context, root *os.Root, set Set, packages []debian.Package) error {
	if err := layout(root); err != nil {
		return err
	}
	for _, pkg := range packages {
		err := debian.Files(ctx, pkg.File, func(stream io.Reader) error {
			return unpack(root, stream, func(name string) bool { return set.wanted(pkg.Name, name) })
		})
		if err != nil {
			return fmt.Errorf("unpacking %s %s: %w", pkg.Name, pkg.Version, err)
		}
	}
	return nil
}

func layout(root *os.Root) error {
	for _, dir := range []string{"dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp", "var/lib"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range merged[:3] {
		if err := root.MkdirAll("usr/"+dir, 0o755); err != nil {
			return err
		}
		if err := root.Symlink("usr/"+dir, dir); err != nil {
			return err
		}
	}
	if err := errors.Join(root.MkdirAll("usr/lib64", 0o755), root.Symlink("usr/lib64", "lib64"), root.Symlink("../run", "var/run")); err != nil {
		return err
	}
	return errors.Join(root.Chmod("tmp", 0o777|fs.ModeSticky), root.Chmod("var/tmp", 0o777|fs.ModeSticky))
}

// unpack writes the entries that want names. Owners are the caller and setuid
// bits are dropped: whoever needs another user asks for it, with root or without.
func unpack(root *os.Root, stream io.Reader, want func(string) bool) error {
	reader := tar.NewReader(stream)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := place(header.Name)
		if name == "" || !want(name) {
			continue
		}
		if err := put(root, name, header, reader); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
}

func put(root *os.Root, name string, header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return root.Link(place(header.Linkname), name)
	case tar.TypeReg:
		return writeFile(root, name, fs.FileMode(header.Mode)&0o777, content)
	}
	return fmt.Errorf("a package holds an entry of type %q, which we do not unpack", header.Typeflag)
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Chmod(mode), file.Close())
}
