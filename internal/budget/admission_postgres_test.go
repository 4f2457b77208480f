// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// A plain role, and the superuser under the same rules.
const (
	plainRole     = "app"
	plainPassword = "app-of-a-test"
)

// aServer has room for limit connections of pools beside the superuser's that
// Exec and Backends ask with.
func aServer(t *testing.T, limit int) *testenv.PostgresServer {
	t.Helper()
	server := testenv.Postgres(t, map[string]string{
		"max_connections":                fmt.Sprint(limit + 1 + 3 + 2 + 20),
		"superuser_reserved_connections": "3",
		"reserved_connections":           "2",
	})
	server.Exec(t, "create role "+plainRole+" login password '"+plainPassword+"'")
	return server
}

// theQuery leaves 20 connections to others, so that a test can look at a full server.
var theQuery = budget.AdmissionQuery(budget.Admission{Direct: 20})

// login opens a connection as PgBouncer does: it runs the query, by the simple
// protocol, before anything else.
func login(ctx context.Context, server *testenv.PostgresServer, user, password string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, server.Config(user, password, "postgres"))
	if err != nil {
		return nil, err
	}
	if _, err := conn.PgConn().Exec(ctx, theQuery).ReadAll(); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func admit(t *testing.T, server *testenv.PostgresServer, n int, user, password string) []*pgx.Conn {
	t.Helper()
	var conns []*pgx.Conn
	for i := range n {
		conn, err := login(t.Context(), server, user, password)
		if err != nil {
			t.Fatalf("connection %d of %d: %v", i+1, n, err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		conns = append(conns, conn)
	}
	return conns
}

func expectRefused(t *testing.T, server *testenv.PostgresServer, user, password string) {
	t.Helper()
	_, err := login(t.Context(), server, user, password)
	if pgErr := new(pgconn.PgError); !errors.As(err, &pgErr) || pgErr.Severity != "FATAL" || pgErr.Code != "57P01" {
		t.Fatalf("a connection above the limit got %v, want the server to end it with 57P01", err)
	}
}

// awaitBackends waits until the server has n client connections beside the one it
// is asked with; the test's time limit ends a wait in vain.
func awaitBackends(t *testing.T, server *testenv.PostgresServer, n int) {
	t.Helper()
	for len(server.Backends(t)) != n {
		time.Sleep(5 * time.Millisecond)
	}
}

func ask(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	var answer string
	if err := conn.QueryRow(t.Context(), query, pgx.QueryExecModeSimpleProtocol).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func TestAConnectionAboveTheLimitEndsItselfAndNoOther(t *testing.T) {
	for _, tt := range []struct{ name, user, password string }{
		{"as a plain role", plainRole, plainPassword},
		{"as a superuser", testenv.SuperuserName, testenv.SuperuserPassword},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := aServer(t, 6)
			conns := admit(t, server, 6, tt.user, tt.password)
			for range 5 {
				expectRefused(t, server, tt.user, tt.password)
			}
			for _, conn := range conns {
				ask(t, conn, "select 'still here'")
			}
			awaitBackends(t, server, 6) // One that was refused is told so a moment before it is gone.
			_ = conns[0].Close(t.Context())
			awaitBackends(t, server, 5)
			admit(t, server, 1, tt.user, tt.password)
		})
	}
}

func TestTheLimitFollowsTheServersSettings(t *testing.T) {
	server := testenv.Postgres(t, map[string]string{
		"max_connections": "40", "superuser_reserved_connections": "7", "reserved_connections": "5",
	})
	server.Exec(t, "create role "+plainRole+" login password '"+plainPassword+"'")
	admit(t, server, 40-7-5-20-1, plainRole, plainPassword)
	expectRefused(t, server, plainRole, plainPassword)
}

func TestConnectionsOfOthersCount(t *testing.T) {
	server := aServer(t, 5)
	server.Exec(t, "create role somebody login password '"+plainPassword+"'", "create database theirs")
	for range 3 {
		server.Connect(t, "somebody", plainPassword, "theirs")
	}
	admit(t, server, 2, plainRole, plainPassword)
	expectRefused(t, server, plainRole, plainPassword)
}

func TestWalsendersDoNotCount(t *testing.T) {
	server := aServer(t, 2)
	server.Exec(t, "create role walker login replication password '"+plainPassword+"'")
	for _, kind := range []string{"true", "database", "database"} {
		config := server.Config("walker", plainPassword, "postgres")
		config.RuntimeParams["replication"] = kind
		conn, err := pgconn.ConnectConfig(t.Context(), &config.Config)
		if err != nil {
			t.Fatalf("connecting for replication: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	admit(t, server, 2, plainRole, plainPassword)
	expectRefused(t, server, plainRole, plainPassword)
}

func TestParallelWorkersOfThePoolsOwnRoleDoNotCount(t *testing.T) {
	server := aServer(t, 3)
	busy := admit(t, server, 1, plainRole, plainPassword)[0]
	if _, err := busy.Exec(t.Context(), "set debug_parallel_query = on"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = busy.Exec(ctx, "select count(pg_sleep(60)) from generate_series(1, 2)")
	}()
	t.Cleanup(func() { cancel(); <-ended })
	watch := server.Superuser(t)
	for ask(t, watch, "select count(*)::text from pg_stat_activity where backend_type = 'parallel worker'") != "1" {
		time.Sleep(5 * time.Millisecond)
	}
	// The superuser that watches is the second of three.
	admit(t, server, 1, plainRole, plainPassword)
	expectRefused(t, server, plainRole, plainPassword)
}

func TestConnectionsThatComeAtOnceNeverLeaveMoreThanTheLimit(t *testing.T) {
	const limit, workers, rounds = 8, 20, 15
	server := aServer(t, limit)
	var admitted, refused, live atomic.Int32
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range rounds {
				conn, err := login(t.Context(), server, plainRole, plainPassword)
				if err != nil {
					refused.Add(1)
					continue
				}
				admitted.Add(1)
				if n := live.Add(1); n > limit {
					t.Errorf("%d connections are admitted at once, above the limit of %d", n, limit)
				}
				_, _ = conn.Exec(t.Context(), "select pg_sleep(0.005)")
				live.Add(-1) // Before it closes: the count here is never above the server's.
				_ = conn.Close(t.Context())
			}
		})
	}
	group.Wait()
	t.Logf("%d admitted, %d refused", admitted.Load(), refused.Load())
	awaitBackends(t, server, 0)
	admit(t, server, limit, plainRole, plainPassword)
}

var wantSettings = map[string]string{
	"client_connection_check_interval": "100ms",
	"tcp_keepalives_idle":              "10",
	"tcp_keepalives_interval":          "5",
	"tcp_user_timeout":                 "25000", // PostgreSQL shows it as the kernel has it.
}

func settingsOf(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range wantSettings {
		got[name] = ask(t, conn, "show "+name)
	}
	return got
}

func TestAnAdmittedConnectionNoticesAClientThatIsGone(t *testing.T) {
	server := aServer(t, 1)
	conn := admit(t, server, 1, plainRole, plainPassword)[0]
	if diff := cmp.Diff(wantSettings, settingsOf(t, conn)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestResetQueryForgetsWhatTheClientDidAndKeepsWhatAdmissionSet(t *testing.T) {
	server := aServer(t, 1)
	conn := admit(t, server, 1, plainRole, plainPassword)[0]
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("set work_mem = '77MB'; set tcp_keepalives_idle = 0; create temp table mine (); prepare mine as select 1; listen mine; select pg_advisory_lock(7)")
	exec(budget.ResetQuery())
	if diff := cmp.Diff(wantSettings, settingsOf(t, conn)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	for query, want := range map[string]string{
		"show work_mem": "4MB",
		"select coalesce(to_regclass('mine')::text, '')":                                           "",
		"select count(*)::text from pg_prepared_statements":                                        "0",
		"select count(*)::text from pg_listening_channels()":                                       "0",
		"select count(*)::text from pg_locks where locktype = 'advisory' and pid=pg_backend_pid()": "0",
	} {
		if got := ask(t, conn, query); got != want {
			t.Errorf("%s is %q, want %q", query, got, want)
		}
	}
}

func TestTheQueriesFitPgBouncersFileAndItsMessages(t *testing.T) {
	for _, query := range []string{budget.AdmissionQuery(budget.Admission{Direct: 262143}), budget.ResetQuery()} {
		if len(query) > budget.MaxQueryBytes {
			t.Errorf("%q has %d bytes, PgBouncer sends no more than %d", query, len(query), budget.MaxQueryBytes)
		}
		if strings.ContainsAny(query, "\n\r\x00") {
			t.Errorf("%q has a line break", query)
		}
	}
}

// aPooler runs PgBouncer with the query, on one database.
func aPooler(t *testing.T, server *testenv.PostgresServer, mode pgbouncer.PoolMode, limit int32) *testenv.PgBouncerServer {
	t.Helper()
	config := pgbouncer.Config{
		Server: pgbouncer.Server{
			Host: server.Host, Port: server.Port, User: plainRole, Password: plainPassword, TLSMode: "disable",
		},
		Databases:            []pgbouncer.Database{{Name: "shop", Database: "postgres"}},
		Mode:                 mode,
		Users:                []pgbouncer.User{{Name: "client", Password: plainPassword}},
		MaxClientConnections: 100,
		ConnectQuery:         theQuery,
		Parameters:           map[string]string{"server_reset_query": budget.ResetQuery()},
	}
	return testenv.PgBouncer(t, pgbouncer.Rendering{Config: config, Limits: pgbouncer.Limits{"shop": limit}})
}

func throughThePooler(t *testing.T, server *testenv.PostgresServer, pooler *testenv.PgBouncerServer) *pgx.Conn {
	t.Helper()
	config := server.Config("client", plainPassword, "shop")
	config.Port = pooler.Port
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("connecting through PgBouncer: %v\n%s", err, pooler.Log())
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestPgBouncerAdmitsNoMoreConnectionsThanTheLimit(t *testing.T) {
	server := aServer(t, 3)
	pooler := aPooler(t, server, pgbouncer.ModeTransaction, 10) // A grant that is wrong: the server has room for 3.
	var group sync.WaitGroup
	for range 6 {
		conn := throughThePooler(t, server, pooler)
		group.Go(func() {
			for range 10 {
				if _, err := conn.Exec(t.Context(), "select pg_sleep(0.02)"); err != nil {
					t.Errorf("a query through PgBouncer: %v", err)
				}
			}
		})
	}
	group.Wait()
	awaitBackends(t, server, 3) // All are full of work, and a login in flight has ended.
}

func TestPgBouncerInSessionModeKeepsWhatAdmissionSet(t *testing.T) {
	server := aServer(t, 1)
	pooler := aPooler(t, server, pgbouncer.ModeSession, 1)
	first := throughThePooler(t, server, pooler)
	backend := ask(t, first, "select pg_backend_pid()::text")
	if _, err := first.Exec(t.Context(), "set work_mem = '77MB'"); err != nil {
		t.Fatal(err)
	}
	_ = first.Close(t.Context())
	second := throughThePooler(t, server, pooler)
	if got := ask(t, second, "select pg_backend_pid()::text"); got != backend {
		t.Fatalf("the second client got server connection %s, want the first's, %s\n%s", got, backend, pooler.Log())
	}
	if got := ask(t, second, "show work_mem"); got != "4MB" {
		t.Errorf("work_mem of the client before is still %s", got)
	}
	if diff := cmp.Diff(wantSettings, settingsOf(t, second)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}
