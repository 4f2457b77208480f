// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package testenv brings the real parts that tests run against: PgBouncer and
// PostgreSQL from Debian's packages, each in a root file system of its own. It is
// for tests only, and it never skips: a part that is missing fails the test and
// says what brings it.
package testenv

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// UserID is the user and group that programs from a root file system run as.
const UserID = 65532

// RootfsVariable names the directory that holds the root file systems, where it
// is not .cache/rootfs of the repository.
const RootfsVariable = "POOLFLEET_ROOTFS"

// Rootfs returns the root file system of a set: "pgbouncer", "postgres", "prometheus", or one of
// PostgreSQL's older versions, such as "postgres-13".
func Rootfs(t testing.TB, set string) string {
	t.Helper()
	parent := os.Getenv(RootfsVariable)
	if parent == "" {
		parent = filepath.Join(repository(t), ".cache", "rootfs")
	}
	root := filepath.Join(parent, set)
	if _, err := os.Stat(filepath.Join(root, "usr")); err != nil {
		t.Fatalf("the root file system %q is not in %s: `make test` brings it, or `make .cache/stamps/postgres-versions .cache/stamps/rootfs-pgbouncer .cache/stamps/rootfs-prometheus`", set, parent)
	}
	return root
}

// Command returns a command that runs a program of a root file system inside it,
// as UserID. The path is seen from inside. It is killed with the test's process.
func Command(t testing.TB, root, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	Confine(t, cmd, root)
	return cmd
}

// CommandContext is Command with a context whose end kills the process.
func CommandContext(ctx context.Context, t testing.TB, root, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	Confine(t, cmd, root)
	return cmd
}

// Confine makes a command that has not started run inside a root file system.
func Confine(t testing.TB, cmd *exec.Cmd, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("programs of a root file system are run by chroot(2): run the tests as root (`sudo -E make test`)")
	}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: UserID, Gid: UserID},
		Pdeathsig:  syscall.SIGKILL,
	}
}

// RunDir makes a directory inside a root file system that belongs to UserID, and
// removes it with the test. It returns the directory's path from outside and from inside.
func RunDir(t testing.TB, root string) (outside, inside string) {
	t.Helper()
	parent := filepath.Join(root, "tmp")
	if err := os.MkdirAll(parent, 0o1777); err != nil {
		t.Fatalf("making a directory in the root file system: %v", err)
	}
	outside, err := os.MkdirTemp(parent, "t")
	if err != nil {
		t.Fatalf("making a directory in the root file system: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	if err := os.Chown(outside, UserID, UserID); err != nil {
		t.Fatalf("making a directory in the root file system: %v", err)
	}
	return outside, strings.TrimPrefix(outside, root)
}

// repository looks upwards for the product's go.mod.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding the repository: %v", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/poolfleet/poolfleet\n") {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("finding the repository: no go.mod above the working directory: name the root file systems with %s", RootfsVariable)
		}
		dir = parent
	}
}
