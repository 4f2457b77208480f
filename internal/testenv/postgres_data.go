// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// PostgresOption shapes a test server beyond its settings.
type PostgresOption func(*postgresOptions)

type postgresOptions struct {
	tls     bool
	hba     []string
	version int
	shown   Certificate
}

// WithTLS makes the server offer TLS (ssl = on), with a certificate for
// 127.0.0.1, localhost and postgres.test that PostgresServer.CA has signed.
func WithTLS() PostgresOption {
	return func(o *postgresOptions) { o.tls = true }
}

// WithCertificate makes the server offer TLS (ssl = on) with this certificate, whose CA
// is also the one that clients' certificates must come from.
func WithCertificate(certificate Certificate) PostgresOption {
	return func(o *postgresOptions) { o.tls, o.shown = true, certificate }
}

// WithHBA replaces the lines of pg_hba.conf for everybody but the superuser.
func WithHBA(lines ...string) PostgresOption {
	return func(o *postgresOptions) { o.hba = lines }
}

// Version makes it a PostgreSQL of that major version, one of Versions. Without,
// it is Debian's, the newest.
func Version(major int) PostgresOption {
	return func(o *postgresOptions) { o.version = major }
}

// Versions are the major versions that there are for this machine's architecture,
// from the oldest to the newest.
func Versions(t testing.TB) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "hack", "postgres-versions.txt"))
	if err != nil {
		t.Fatalf("reading which versions of PostgreSQL there are: %v", err)
	}
	architecture := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	line := regexp.MustCompile(`(?m)^(\d+)\.\S+ ` + cmp.Or(architecture, runtime.GOARCH) + ` `)
	var versions []int
	for _, match := range line.FindAllStringSubmatch(string(text), -1) {
		versions = append(versions, number(t, match[1]))
	}
	return append(versions, newest(t))
}

// newest is the version that Debian has.
func newest(t testing.TB) int {
	t.Helper()
	servers, err := filepath.Glob(filepath.Join(Rootfs(t, "postgres"), "usr/lib/postgresql/*"))
	if err != nil || len(servers) != 1 {
		t.Fatalf("looking for Debian's PostgreSQL: found %v, %v", servers, err)
	}
	return number(t, filepath.Base(servers[0]))
}

func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("reading a version of PostgreSQL: %v", err)
	}
	return n
}

// rootOf returns the root file system with the server of a version, 0 for Debian's.
func rootOf(t testing.TB, version int) string {
	t.Helper()
	if version == 0 || version == newest(t) {
		return Rootfs(t, "postgres")
	}
	return Rootfs(t, fmt.Sprintf("postgres-%d", version))
}

// copyTemplate makes a data directory from one that initdb made earlier: copying
// it takes a fraction of the time.
func copyTemplate(t testing.TB, root, data string, version int) {
	t.Helper()
	template := templateFor(t, root)
	if _, err := os.Stat(template); err != nil {
		makeTemplate(t, root, template, version)
	}
	if output, err := exec.CommandContext(t.Context(), "cp", "--archive", template, data).CombinedOutput(); err != nil {
		t.Fatalf("copying a data directory: %v\n%s", err, output)
	}
}

// templateFor names the data directory that goes with a root's packages. It lies
// beside the root, not in it, so that no image made from the root has it.
func templateFor(t testing.TB, root string) string {
	t.Helper()
	packages, err := os.ReadFile(filepath.Join(root, "usr/share/poolfleet/packages.txt"))
	if err != nil {
		t.Fatalf("reading what the root file system is made of: %v", err)
	}
	sum := sha256.Sum256(append(packages, SuperuserPassword...))
	return filepath.Join(filepath.Dir(root), ".postgres-data-"+hex.EncodeToString(sum[:6]))
}

func makeTemplate(t testing.TB, root, template string, version int) {
	t.Helper()
	outside, inside := RunDir(t, root)
	writeOwned(t, filepath.Join(outside, "password"), SuperuserPassword+"\n")
	cmd := Command(t, root, "/usr/bin/initdb", "--pgdata="+inside+"/data", "--username="+SuperuserName,
		"--pwfile="+inside+"/password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
		"--no-sync")
	if version == 0 || version >= 18 { // Checksums are off where the option is not known.
		cmd.Args = append(cmd.Args, "--no-data-checksums")
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a data directory: %v\n%s", err, output)
	}
	err := os.Rename(filepath.Join(outside, "data"), template)
	if _, missing := os.Stat(template); missing != nil { // Another run may have been faster.
		t.Fatalf("keeping the data directory: %v", err)
	}
}

// defaults are the settings of every test server. Durability is off, nothing is
// left in shared memory, and there is no socket file to collide on.
var defaults = map[string]string{
	"listen_addresses":           "127.0.0.1",
	"unix_socket_directories":    "",
	"fsync":                      "off",
	"synchronous_commit":         "off",
	"full_page_writes":           "off",
	"shared_buffers":             "16MB",
	"max_wal_size":               "64MB",
	"dynamic_shared_memory_type": "mmap",
	"timezone":                   "UTC",
	"lc_messages":                "C",
	"password_encryption":        "scram-sha-256", // The default from 14 on.
}

func writeConfiguration(t testing.TB, server *PostgresServer, settings map[string]string, options postgresOptions) {
	t.Helper()
	all := maps.Clone(defaults)
	if options.tls {
		all["ssl"] = "on"
		server.CA = options.shown.CA
		if options.shown.Key == nil {
			server.CA = writeServerCertificate(t, server.outside)
		} else {
			for name, data := range map[string][]byte{"server.crt": options.shown.Certificate, "server.key": options.shown.Key, "ca.crt": options.shown.CA} {
				writeOwned(t, filepath.Join(server.outside, name), string(data))
			}
			all["ssl_ca_file"] = "ca.crt"
		}
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(all[name], "'", "''"))
	}
	writeOwned(t, filepath.Join(server.outside, "postgresql.conf"), text.String())

	lines := options.hba
	if lines == nil {
		lines = []string{"host all,replication all 127.0.0.1/32 scram-sha-256"}
	}
	superuser := fmt.Sprintf("host all,replication %s 127.0.0.1/32 scram-sha-256\n", SuperuserName)
	writeOwned(t, filepath.Join(server.outside, "pg_hba.conf"), superuser+strings.Join(lines, "\n")+"\n")
}

// writeOwned writes a file that only UserID can read.
func writeOwned(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatalf("writing %s: %v", filepath.Base(name), err)
	}
	if err := os.Chown(name, UserID, UserID); err != nil {
		t.Fatalf("writing %s: %v", filepath.Base(name), err)
	}
}
