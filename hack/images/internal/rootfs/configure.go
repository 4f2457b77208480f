// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poolfleet/poolfleet/hack/images/internal/debian"
)

// PackagesFile lists, inside a root, the packages it is made of.
const PackagesFile = "usr/share/poolfleet/packages.txt"

const (
	mozilla = "usr/share/ca-certificates/mozilla"
	bundle  = "etc/ssl/certs/ca-certificates.crt"
	// switches makes glibc look into files first and then ask DNS.
	switches = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"
)

// configure writes what maintainer scripts would have left behind.
func configure(ctx context.Context, root *os.Root, set Set, packages []debian.Package) error {
	if err := writeUsers(root, set.Users); err != nil {
		return fmt.Errorf("writing users: %w", err)
	}
	if err := write(root, "etc/nsswitch.conf", switches); err != nil {
		return err
	}
	if err := writeCertificates(root); err != nil {
		return fmt.Errorf("writing CA certificates: %w", err)
	}
	if err := writeLinks(root, set.Links); err != nil {
		return fmt.Errorf("writing links: %w", err)
	}
	return writeInventory(ctx, root, packages)
}

func write(root *os.Root, name, text string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	return writeFile(root, name, 0o644, strings.NewReader(text))
}

func writeUsers(root *os.Root, users []User) error {
	var passwd, group strings.Builder
	for _, user := range users {
		shell := "/usr/sbin/nologin"
		if user.ID == 0 {
			shell = "/bin/sh"
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", user.Name, user.ID, user.ID, user.Name, user.Home, shell)
		fmt.Fprintf(&group, "%s:x:%d:\n", user.Name, user.ID)
	}
	return errors.Join(write(root, "etc/passwd", passwd.String()), write(root, "etc/group", group.String()))
}

// writeCertificates joins Mozilla's certificates into the one file that OpenSSL
// and Go read, as update-ca-certificates(8) does, and drops the single ones.
func writeCertificates(root *os.Root) error {
	names, err := fs.Glob(root.FS(), mozilla+"/*.crt")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the package ca-certificates has none at /%s", mozilla)
	}
	slices.Sort(names)
	var all bytes.Buffer
	for _, name := range names {
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		all.Write(bytes.TrimRight(text, "\n"))
		all.WriteByte('\n')
	}
	if err := root.RemoveAll("usr/share/ca-certificates"); err != nil {
		return err
	}
	return write(root, bundle, all.String())
}

// writeLinks makes relative links: they hold inside the root and seen from outside.
func writeLinks(root *os.Root, links map[string]string) error {
	for dir, pattern := range links {
		targets, err := fs.Glob(root.FS(), pattern)
		if err != nil {
			return err
		}
		if len(targets) == 0 {
			return fmt.Errorf("nothing matches /%s", pattern)
		}
		for _, target := range targets {
			name := path.Join(dir, path.Base(target))
			relative, err := filepath.Rel(dir, target)
			if err := errors.Join(err, root.RemoveAll(name), root.Symlink(relative, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeInventory records the packages for people, and for vulnerability
// scanners, which read var/lib/dpkg/status.d of an image that has no dpkg.
func writeInventory(ctx context.Context, root *os.Root, packages []debian.Package) error {
	for _, pkg := range packages {
		control, err := debian.Control(ctx, pkg.File)
		if err != nil {
			return fmt.Errorf("reading what package %s says of itself: %w", pkg.Name, err)
		}
		if err := write(root, "var/lib/dpkg/status.d/"+pkg.Name, control); err != nil {
			return err
		}
	}
	return write(root, PackagesFile, Inventory(packages))
}

// Inventory is one line per package: its name and version.
func Inventory(packages []debian.Package) string {
	var lines strings.Builder
	for _, pkg := range packages {
		fmt.Fprintf(&lines, "%s %s\n", pkg.Name, pkg.Version)
	}
	return lines.String()
}
