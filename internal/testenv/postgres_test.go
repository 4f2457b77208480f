// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

func read[T any](t *testing.T, conn *pgx.Conn, query string) T {
	t.Helper()
	var value T
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("running %q: %v", query, err)
	}
	return value
}

func TestPostgresHasTheSettingsAskedForAndKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, map[string]string{"max_connections": "17", "cluster_name": "it's"})
	server.Exec(t, `create role app login password 'it''s'`, `create table kept (id int)`, `alter system set max_connections = 23`)

	conn := server.Superuser(t)
	if got := read[string](t, conn, "show max_connections") + read[string](t, conn, "show cluster_name"); got != "17it's" {
		t.Errorf("max_connections and cluster_name are %q, want 17 and it's", got)
	}
	server.Restart(t)
	if got := read[string](t, server.Superuser(t), "show max_connections"); got != "23" {
		t.Errorf("max_connections after the restart is %s, want 23", got)
	}
	server.Exec(t, `insert into kept values (1)`)
	if got := read[string](t, server.Connect(t, "app", "it's", "postgres"), "select current_user"); got != "app" {
		t.Errorf("connected as %s, want app", got)
	}
}

func TestEveryVersionServes(t *testing.T) {
	t.Parallel()
	for _, version := range testenv.Versions(t) {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			server := testenv.Postgres(t, nil, testenv.Version(version))
			if got := read[int](t, server.Superuser(t), "select current_setting('server_version_num')::int / 10000"); got != version {
				t.Errorf("PostgreSQL %d answers", got)
			}
		})
	}
}

func TestBackendsListsEveryClientButTheOneThatAsks(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, nil)
	if got := server.Backends(t); len(got) != 0 {
		t.Fatalf("a fresh server has clients: %+v", got)
	}
	conn := server.Superuser(t)
	got := server.Backends(t)
	if len(got) != 1 || got[0].PID != conn.PgConn().PID() || got[0].Database != "postgres" || got[0].Application != "testenv" {
		t.Errorf("got %+v, want the one connection, of process %d", got, conn.PgConn().PID())
	}
}

func TestStandbyFollowsItsPrimary(t *testing.T) {
	t.Parallel()
	primary := testenv.Postgres(t, nil)
	standby := testenv.Standby(t, primary)
	conn := standby.Superuser(t)
	if !read[bool](t, conn, "select pg_is_in_recovery()") {
		t.Error("the standby is not in recovery")
	}
	if got := read[string](t, primary.Superuser(t), "select state from pg_stat_replication"); got != "streaming" {
		t.Errorf("the primary sees the standby as %q, want streaming", got)
	}
}

func TestWithTLSServesACertificateThatItsAuthoritySigned(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, nil, testenv.WithTLS(), testenv.WithHBA("hostnossl all app 0.0.0.0/0 reject"))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CA) {
		t.Fatal("the authority's certificate can not be read")
	}
	config := server.Config(testenv.SuperuserName, testenv.SuperuserPassword, "postgres")
	config.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "postgres.test", MinVersion: tls.VersionTLS12}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("connecting with TLS: %v", err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if !read[bool](t, conn, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
		t.Error("the connection is not encrypted")
	}
}
