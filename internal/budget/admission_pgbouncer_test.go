// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// aPooler runs PgBouncer with a connect query, on one database.
func aPooler(t *testing.T, server *fullServer, mode pgbouncer.PoolMode, limit int32, query string, changes ...func(*pgbouncer.Config)) *testenv.PgBouncerServer {
	t.Helper()
	config := pgbouncer.Config{
		Server: pgbouncer.Server{
			Host: server.Host, Port: server.Port, User: plainRole, Password: plainPassword, TLSMode: "disable",
		},
		Databases:            []pgbouncer.Database{{Name: "shop", Database: "postgres"}},
		Mode:                 mode,
		Users:                []pgbouncer.User{{Name: "client", Password: plainPassword}},
		MaxClientConnections: 100,
		ConnectQuery:         query,
		Parameters:           map[string]string{"server_reset_query": budget.ResetQuery()},
	}
	for _, change := range changes {
		change(&config)
	}
	return testenv.PgBouncer(t, pgbouncer.Rendering{Config: config, Limits: pgbouncer.Limits{"shop": limit}})
}

func dialThePooler(t *testing.T, server *fullServer, pooler *testenv.PgBouncerServer) (*pgx.Conn, error) {
	t.Helper()
	config := server.Config("client", plainPassword, "shop")
	config.Port = pooler.Port
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(t.Context(), config)
}

func throughThePooler(t *testing.T, server *fullServer, pooler *testenv.PgBouncerServer) *pgx.Conn {
	t.Helper()
	conn, err := dialThePooler(t, server, pooler)
	if err != nil {
		t.Fatalf("connecting through PgBouncer: %v\n%s", err, pooler.Log())
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestAdmissionThroughPgBouncer(t *testing.T) {
	t.Parallel()
	onVersions(t, slices.DeleteFunc(testenv.Versions(t), func(v int) bool { return v == 14 || v == 15 || v == 17 }),
		map[string]func(visit){
			"in transaction mode no more connections than the limit": transactionMode,
			"in session mode what admission set is kept":             sessionMode,
			"clients of a pool that finds no room wait for it":       noRoom,
		})
}

func transactionMode(on visit) {
	t, server := on.t, on.server
	ceiling := budget.Admission{Withheld: leaving(20), Ceiling: 3, Roles: []uint32{server.oid(t, plainRole)}}
	for name, query := range map[string]string{
		"of the server": room(3), "of the pools' roles": budget.AdmissionQuery(ceiling),
	} {
		t.Run(name, func(t *testing.T) {
			server.awaitBackends(t, 0)
			pooler := aPooler(t, server, pgbouncer.ModeTransaction, 10, query) // A grant that is wrong: there is room for 3.
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
			server.awaitBackends(t, 3) // All are full of work, and a login in flight has ended.
		})
	}
}

func sessionMode(on visit) {
	t, server := on.t, on.server
	pooler := aPooler(t, server, pgbouncer.ModeSession, 1, room(1))
	first := throughThePooler(t, server, pooler)
	backend := ask[string](t, first, "select pg_backend_pid()::text")
	if _, err := first.Exec(t.Context(), "set work_mem = '77MB'"); err != nil {
		t.Fatal(err)
	}
	_ = first.Close(t.Context())
	second := throughThePooler(t, server, pooler)
	if got := ask[string](t, second, "select pg_backend_pid()::text"); got != backend {
		t.Fatalf("the second client got server connection %s, want the first's, %s\n%s", got, backend, pooler.Log())
	}
	if got := ask[string](t, second, "show work_mem"); got != "4MB" {
		t.Errorf("work_mem of the client before is still %s", got)
	}
	want := checkedSettings(14)
	if server.version < 14 {
		delete(want, "client_connection_check_interval") // The reset query sets what 13 knows.
	}
	compareSettings(t, second, want)
}

// noRoom shows what a refusal looks like: to PgBouncer a failed login, to its clients
// a wait that only query_wait_timeout ends.
func noRoom(on visit) {
	t, server := on.t, on.server
	held := server.Connect(t, otherRole, plainPassword, "postgres")
	impatient := func(c *pgbouncer.Config) { c.Parameters["query_wait_timeout"] = "1" }
	pooler := aPooler(t, server, pgbouncer.ModeTransaction, 5, room(1), impatient)
	_, err := dialThePooler(t, server, pooler)
	if refusal := new(pgconn.PgError); !errors.As(err, &refusal) || refusal.Code != "08P01" || refusal.Message != "query_wait_timeout" {
		t.Errorf("without any room a client got %v, want query_wait_timeout", err)
	}
	if !strings.Contains(pooler.Log(), "error while executing exec_on_query") {
		t.Errorf("PgBouncer says nothing of a refusal:\n%s", pooler.Log())
	}
	_ = held.Close(t.Context())
	conn, err := dialThePooler(t, server, pooler)
	for err != nil && t.Context().Err() == nil {
		conn, err = dialThePooler(t, server, pooler) // PgBouncer waits a while before it tries again.
	}
	if got := ask[string](t, conn, "select 'served'"); got != "served" {
		t.Errorf("got %q", got)
	}
	_ = conn.Close(t.Context())
}
