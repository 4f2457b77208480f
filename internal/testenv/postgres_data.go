// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// PostgresOption shapes a test server beyond its settings.
type PostgresOption func(*postgresOptions)

type postgresOptions struct {
	tls bool
	hba []string
}

// WithTLS makes the server offer TLS (ssl = on), with a certificate for
// 127.0.0.1, localhost and postgres.test that PostgresServer.CA has signed.
func WithTLS() PostgresOption {
	return func(o *postgresOptions) { o.tls = true }
}

// WithHBA replaces the lines of pg_hba.conf for everybody but the superuser.
func WithHBA(lines ...string) PostgresOption {
	return func(o *postgresOptions) { o.hba = lines }
}

// copyTemplate makes a data directory from one that initdb made earlier: copying
// it takes a fraction of the time.
func copyTemplate(t testing.TB, root, data string) {
	t.Helper()
	template := templateFor(t, root)
	if _, err := os.Stat(template); err != nil {
		makeTemplate(t, root, template)
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

func makeTemplate(t testing.TB, root, template string) {
	t.Helper()
	outside, inside := RunDir(t, root)
	writeOwned(t, filepath.Join(outside, "password"), SuperuserPassword+"\n")
	cmd := Command(t, root, "/usr/bin/initdb", "--pgdata="+inside+"/data", "--username="+SuperuserName,
		"--pwfile="+inside+"/password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
		"--no-sync", "--no-instructions", "--no-data-checksums")
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
}

func writeConfiguration(t testing.TB, server *PostgresServer, settings map[string]string, options postgresOptions) {
	t.Helper()
	all := maps.Clone(defaults)
	if options.tls {
		all["ssl"] = "on"
		server.CA = writeServerCertificate(t, server.outside)
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
