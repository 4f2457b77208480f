// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestAdmission(t *testing.T) {
	t.Parallel()
	onVersions(t, testenv.Versions(t), map[string]func(visit){
		"a connection above the limit ends itself and no other":    aboveTheLimit,
		"connections of others count":                              othersCount,
		"walsenders do not count":                                  walsendersDoNotCount,
		"parallel workers count where they can not be told apart":  parallelWorkers,
		"background workers with a role count":                     backgroundWorkers,
		"connections that come at once never exceed the limit":     comeAtOnce,
		"one too many waits for another that is about to go":       waitsForAnother,
		"a connection notices a client that is gone":               noticesAClientThatIsGone,
		"the reset query forgets the client and keeps the rest":    resetQuery,
		"a ceiling holds the pools' roles and nobody else":         ceiling,
		"a ceiling of more roles than fit counts too many":         ceilingOfManyRoles,
		"the limit follows the server's settings by the same text": limitFollows,
	})
}

func aboveTheLimit(on visit) {
	t, server := on.t, on.server
	query := room(4)
	for _, role := range []string{plainRole, watchRole, testenv.SuperuserName} {
		server.awaitBackends(t, 0)
		conns := server.admit(t, 4, role, query)
		for range 3 {
			server.refuse(t, role, query)
		}
		for _, conn := range conns {
			ask[string](t, conn, "select 'still here'")
		}
		server.awaitBackends(t, 4) // One that was refused is told so a moment before it is gone.
		_ = conns[0].Close(t.Context())
		server.awaitBackends(t, 3)
		conns = append(conns, server.admit(t, 1, role, query)...)
		for _, conn := range conns {
			_ = conn.Close(t.Context())
		}
	}
}

// waitsForAnother has one go that is there while the next one logs in.
func waitsForAnother(on visit) {
	t, server := on.t, on.server
	query := room(3)
	first := server.admit(t, 3, plainRole, query)[0]
	next := make(chan error, 1)
	go func() {
		conn, err := server.login(t.Context(), plainRole, query)
		if err == nil {
			err = conn.Close(t.Context())
		}
		next <- err
	}()
	server.awaitBackends(t, 4)
	_ = first.Close(t.Context())
	if err := <-next; err != nil {
		t.Errorf("the next connection got %v, want the place of the one that has gone", err)
	}
}

func othersCount(on visit) {
	t, server := on.t, on.server
	for _, role := range []string{otherRole, watchRole, testenv.SuperuserName} {
		server.Connect(t, role, passwordOf(role), "theirs")
	}
	server.admit(t, 2, plainRole, room(5))
	server.refuse(t, plainRole, room(5))
}

func walsendersDoNotCount(on visit) {
	t, server := on.t, on.server
	for _, kind := range []string{"true", "database", "database"} {
		config := server.Config(walRole, plainPassword, "postgres")
		config.RuntimeParams["replication"] = kind
		conn, err := pgconn.ConnectConfig(t.Context(), &config.Config)
		if err != nil {
			t.Fatalf("connecting for replication: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	server.awaitKind(t, "walsender", 3)
	for _, role := range []string{plainRole, watchRole, walRole, testenv.SuperuserName} {
		if got := server.counted(t, role); got != 0 {
			t.Errorf("as %s: %d", role, got)
		}
	}
	server.admit(t, 2, plainRole, room(2))
	server.refuse(t, plainRole, room(2))
}

// parallelWorkers has one query of one role with one worker.
func parallelWorkers(on visit) {
	t, server := on.t, on.server
	busy := server.Connect(t, plainRole, plainPassword, "postgres")
	force := "debug_parallel_query"
	if server.version < 16 {
		force = "force_parallel_mode"
	}
	if _, err := busy.Exec(t.Context(), "set "+force+" = on"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _, _ = busy.Exec(ctx, "select count(pg_sleep(60)) from generate_series(1, 2)") })
	t.Cleanup(func() { cancel(); group.Wait() })
	server.awaitKind(t, "parallel worker", 1)
	for role, want := range map[string]int{plainRole: 1, watchRole: 1, testenv.SuperuserName: 1, otherRole: 2} {
		if got := server.counted(t, role); got != want {
			t.Errorf("as %s: %d, want %d", role, got, want)
		}
	}
}

// backgroundWorkers has one that runs for a role in a database, a subscription's.
func backgroundWorkers(on visit) {
	t, server := on.t, on.server
	server.Exec(t, "create table told (id int)", "create publication news for table told",
		"select pg_create_logical_replication_slot('news', 'pgoutput')",
		fmt.Sprintf("create subscription news connection 'host=%s port=%d user=%s password=%s dbname=postgres' publication news with (create_slot = false, copy_data = false)",
			server.Host, server.Port, testenv.SuperuserName, testenv.SuperuserPassword))
	defer func() {
		server.Exec(t, "drop subscription news", "drop publication news", "drop table told")
		server.awaitKind(t, "logical replication%worker", 0)
		server.awaitKind(t, "walsender", 0)
	}()
	server.awaitKind(t, "logical replication%worker", 1)
	server.awaitKind(t, "walsender", 1)
	for _, role := range []string{plainRole, watchRole, testenv.SuperuserName} {
		if got := server.counted(t, role); got != 1 {
			t.Errorf("as %s: %d, want the worker alone: neither the walsender nor the server's own processes", role, got)
		}
	}
}

func comeAtOnce(on visit) {
	t, server := on.t, on.server
	const limit, workers, rounds = 6, 12, 10
	query := room(limit)
	var admitted, live atomic.Int32
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range rounds {
				conn, err := server.login(t.Context(), plainRole, query)
				if err != nil {
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
	t.Logf("%d of %d admitted", admitted.Load(), workers*rounds)
	server.awaitBackends(t, 0)
	server.admit(t, limit, plainRole, query)
}

// checkedSettings are what admission sets. PostgreSQL 13 refuses them all: it does
// not know one of them.
func checkedSettings(version int) map[string]string {
	if version < 14 {
		return map[string]string{"tcp_keepalives_idle": "7200", "tcp_keepalives_interval": "75", "tcp_user_timeout": "0"}
	}
	return map[string]string{
		"client_connection_check_interval": "100ms",
		"tcp_keepalives_idle":              "9",
		"tcp_keepalives_interval":          "75",
		"tcp_user_timeout":                 "25000", // PostgreSQL shows it as the kernel has it.
	}
}

func compareSettings(t *testing.T, conn *pgx.Conn, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name := range want {
		got[name] = ask[string](t, conn, "show "+name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func noticesAClientThatIsGone(on visit) {
	t, server := on.t, on.server
	conn := server.admit(t, 1, plainRole, room(1))[0]
	compareSettings(t, conn, checkedSettings(server.version))
}

func resetQuery(on visit) {
	t, server := on.t, on.server
	conn := server.admit(t, 1, plainRole, room(1))[0]
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("set work_mem = '77MB'; set tcp_keepalives_idle = 0; create temp table mine (); prepare mine as select 1; listen mine; select pg_advisory_lock(7)")
	exec(budget.ResetQuery())
	want := checkedSettings(14)
	if server.version < 14 {
		delete(want, "client_connection_check_interval")
	}
	compareSettings(t, conn, want)
	for query, want := range map[string]string{
		"show work_mem": "4MB",
		"select coalesce(to_regclass('mine')::text, '')":                                           "",
		"select count(*)::text from pg_prepared_statements":                                        "0",
		"select count(*)::text from pg_listening_channels()":                                       "0",
		"select count(*)::text from pg_locks where locktype = 'advisory' and pid=pg_backend_pid()": "0",
	} {
		if got := ask[string](t, conn, query); got != want {
			t.Errorf("%s is %q, want %q", query, got, want)
		}
	}
}

func (s *fullServer) oid(t *testing.T, role string) uint32 {
	t.Helper()
	oid, err := strconv.ParseUint(s.Ask(t, "select oid from pg_roles where rolname = '"+role+"'"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(oid)
}

func ceiling(on visit) {
	t, server := on.t, on.server
	pools := []uint32{server.oid(t, plainRole), server.oid(t, otherRole), 4000000000} // The last is gone.
	query := budget.AdmissionQuery(budget.Admission{Withheld: leaving(9), Ceiling: 4, Roles: pools})
	server.Connect(t, watchRole, plainPassword, "theirs")
	server.Connect(t, otherRole, plainPassword, "theirs")
	first := server.admit(t, 3, plainRole, query)[0]
	server.refuse(t, plainRole, query)
	server.refuse(t, otherRole, query)
	server.awaitBackends(t, 5) // One that was refused is told so a moment before it is gone.
	server.admit(t, 1, watchRole, query)
	_ = first.Close(t.Context())
	server.awaitBackends(t, 5)
	server.admit(t, 1, otherRole, query)
	server.refuse(t, plainRole, query)

	wide := budget.AdmissionQuery(budget.Admission{Withheld: leaving(9), Ceiling: 50, Roles: pools})
	server.awaitBackends(t, 6)
	server.admit(t, 3, plainRole, wide)
	server.refuse(t, plainRole, wide) // The server's own limit still holds.
}

func ceilingOfManyRoles(on visit) {
	t, server := on.t, on.server
	roles := []uint32{server.oid(t, plainRole)}
	for i := range uint32(8) {
		roles = append(roles, 4000000000+i)
	}
	query := budget.AdmissionQuery(budget.Admission{Withheld: leaving(20), Ceiling: 4, Roles: roles})
	server.Superuser(t)
	server.Connect(t, watchRole, plainPassword, "postgres") // Newer than the oldest of the roles.
	server.admit(t, 3, plainRole, query)
	server.refuse(t, plainRole, query)

	server.awaitBackends(t, 5)
	unknown := budget.AdmissionQuery(budget.Admission{Withheld: leaving(20), Ceiling: 8})
	server.admit(t, 2, plainRole, unknown) // Eight with the superuser that the test asks with.
	server.refuse(t, plainRole, unknown)
}

func limitFollows(on visit) {
	t, server := on.t, on.server
	query := room(6)
	server.Exec(t, "alter system set max_connections = "+fmt.Sprint(maxConnections-2))
	server.Restart(t)
	server.awaitBackends(t, 0)
	server.admit(t, 4, plainRole, query)
	server.refuse(t, plainRole, query)
	server.Exec(t, "alter system reset all")
	server.Restart(t)
}
