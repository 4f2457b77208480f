//go:build rootfs

// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgresRoot is the root file system that `images rootfs --set postgres` makes.
const postgresRoot = "../../../../.cache/rootfs/postgres"

// realRoot returns the root and a directory in it that belongs to the server's user.
func realRoot(t *testing.T) (root, outside, inside string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test runs PostgreSQL by chroot(2): run it as root")
	}
	root, err := filepath.Abs(postgresRoot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/postgres")); err != nil {
		t.Fatalf("%v: `make test` brings it, or `go run . rootfs --set postgres --out ../../.cache/rootfs/postgres` in hack/images", err)
	}
	outside, err = os.MkdirTemp(filepath.Join(root, "tmp"), "entrypoint") //nolint:usetesting // It has to lie inside the root.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	if err := os.Chown(outside, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	return root, outside, strings.TrimPrefix(outside, root)
}

func confined(root string, env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=/usr/sbin:/usr/bin", "LANG=C.UTF-8"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestPostgreSQLServesWithThePasswordAndOnlyWithIt(t *testing.T) {
	root, outside, inside := realRoot(t)
	build := exec.Command("go", "build", "-o", filepath.Join(outside, "entrypoint"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := freePort(t)
	server := confined(root, []string{
		"PGDATA=" + inside + "/volume/data", "PGHOST=" + inside + "/volume/run",
		"POSTGRES_PASSWORD=s3cret", "POSTGRES_USER=app", `POSTGRES_DB=my "shop"`,
	}, inside+"/entrypoint", "-c", "listen_addresses=127.0.0.1", "-c", "port="+port, "-c", "max_connections=33", "-c", "fsync=off")
	var log strings.Builder
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v\n%s", err, log.String())
		}
	})
	query := func(password string) (string, error) {
		out, err := confined(root, []string{"PGPASSWORD=" + password, "PGCONNECT_TIMEOUT=5"}, "/usr/bin/psql", "-h", "127.0.0.1", "-p", port,
			"-U", "app", "-d", `my "shop"`, "-Atc", "select current_user, current_setting('max_connections'), (select datctype from pg_database where datname = current_database())").CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	ready := func() bool {
		return confined(root, nil, "/usr/bin/pg_isready", "-h", "127.0.0.1", "-p", port).Run() == nil
	}
	for deadline := time.Now().Add(2 * time.Minute); !ready() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	got, err := query("s3cret")
	if err != nil || got != "app|33|C.UTF-8" {
		t.Fatalf("got %q, %v\n%s", got, err, log.String())
	}
	if got, err := query("wrong"); err == nil || !strings.Contains(got, "password authentication failed") {
		t.Errorf("a wrong password: %q, %v", got, err)
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the password stands in the log")
	}
}
