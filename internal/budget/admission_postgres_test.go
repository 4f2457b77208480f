// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// The roles of a test's server: two plain ones, one that sees what others do, one
// that replicates, and the superuser. All but the last have the same password.
const (
	plainRole, otherRole, watchRole, walRole = "app", "somebody", "watcher", "walker"

	plainPassword = "app-of-a-test"
)

func passwordOf(role string) string {
	if role == testenv.SuperuserName {
		return testenv.SuperuserPassword
	}
	return plainPassword
}

// fullServer is a PostgreSQL that admission is to keep from running full.
type fullServer struct {
	*testenv.PostgresServer
	version int
}

const maxConnections = 60

// visit is a test and the server that it has to itself meanwhile.
type visit struct {
	t      *testing.T
	server *fullServer
}

// onVersions runs tests on one server of each version, one after the other.
func onVersions(t *testing.T, versions []int, tests map[string]func(visit)) {
	t.Helper()
	for _, version := range versions {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			t.Parallel()
			server := aFullServer(t, version)
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					server.awaitBackends(t, 0)
					test(visit{t, server})
				})
			}
		})
	}
}

func aFullServer(t *testing.T, version int) *fullServer {
	t.Helper()
	settings := map[string]string{
		"max_connections": fmt.Sprint(maxConnections), "superuser_reserved_connections": "3", "wal_level": "logical",
	}
	if version >= 16 {
		settings["reserved_connections"] = "2"
	}
	server := testenv.Postgres(t, settings, testenv.Version(version))
	for _, role := range []string{plainRole, otherRole, watchRole} {
		server.Exec(t, "create role "+role+" login password '"+plainPassword+"'")
	}
	server.Exec(t, "grant pg_monitor to "+watchRole, "create database theirs",
		"create role "+walRole+" login replication password '"+plainPassword+"'")
	return &fullServer{server, version}
}

// room is the query that lets n connections in beside the superuser's that Exec and
// Backends ask with.
func room(n int) string {
	return budget.AdmissionQuery(budget.Admission{Withheld: leaving(n)})
}

// leaving is what is withheld for n to have room.
func leaving(n int) int32 { return int32(maxConnections - 1 - n) }

// login opens a connection as PgBouncer does: it runs the query, by the simple
// protocol, before anything else. That an old version does not know a setting is
// no error to PgBouncer.
func (s *fullServer) login(ctx context.Context, role, query string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.Config(role, passwordOf(role), "postgres"))
	if err != nil {
		return nil, err
	}
	_, err = conn.PgConn().Exec(ctx, query).ReadAll()
	if refusal := new(pgconn.PgError); s.version < 14 && errors.As(err, &refusal) && refusal.Code == "42704" {
		return conn, nil
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func (s *fullServer) admit(t *testing.T, n int, role, query string) []*pgx.Conn {
	t.Helper()
	var conns []*pgx.Conn
	for i := range n {
		conn, err := s.login(t.Context(), role, query)
		if err != nil {
			t.Fatalf("connection %d of %d: %v", i+1, n, err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		conns = append(conns, conn)
	}
	return conns
}

func (s *fullServer) refuse(t *testing.T, role, query string) {
	t.Helper()
	_, err := s.login(t.Context(), role, query)
	if pgErr := new(pgconn.PgError); !errors.As(err, &pgErr) || pgErr.Severity != "FATAL" || pgErr.Code != "57P01" {
		t.Fatalf("a connection above the limit got %v, want the server to end it with 57P01", err)
	}
}

// awaitBackends waits until the server has n client connections beside the one it
// is asked with; the test's time limit ends a wait in vain.
func (s *fullServer) awaitBackends(t *testing.T, n int) {
	t.Helper()
	for len(s.Backends(t)) != n {
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitKind waits until so many processes are of a kind that pg_stat_activity names.
func (s *fullServer) awaitKind(t *testing.T, kind string, n int) {
	t.Helper()
	query := "select count(*) from pg_stat_activity where backend_type like '" + kind + "'"
	for s.Ask(t, query) != fmt.Sprint(n) {
		time.Sleep(5 * time.Millisecond)
	}
}

// counted is how many connections the query counts as a role beside its own and the
// superuser's that Exec and Backends ask with.
func (s *fullServer) counted(t *testing.T, role string) int {
	t.Helper()
	before := len(s.Backends(t))
	conn, err := pgx.ConnectConfig(t.Context(), s.Config(role, passwordOf(role), "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	var count, limit int
	var mayEnd, mayRun bool
	if err := json.Unmarshal(ask[[]byte](t, conn, budget.AdmissionProbe()), &[]any{&count, &limit, &mayEnd, &mayRun}); err != nil {
		t.Fatal(err)
	}
	if limit != maxConnections || !mayEnd || !mayRun {
		t.Errorf("as %s max_connections is %d, want %d; the connection may end itself: %t, and run the block that does: %t", role, limit, maxConnections, mayEnd, mayRun)
	}
	_ = conn.Close(t.Context())
	s.awaitBackends(t, before)
	return count - 2
}

func ask[T any](t *testing.T, conn *pgx.Conn, query string) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), query, pgx.QueryExecModeSimpleProtocol).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}
