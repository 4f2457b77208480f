// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// aServerOf is a server of a version with the roles app, other and seer, who sees what
// others do, and the database shop.
func aServerOf(t *testing.T, version int, settings map[string]string) *testenv.PostgresServer {
	t.Helper()
	server := aServer(t, settings, testenv.Version(version))
	for _, role := range []string{"other", "seer"} {
		server.Exec(t, "create role "+role+" login password '"+appPassword+"'")
	}
	server.Exec(t, "grant pg_monitor to seer")
	return server
}

func as(role string) func(*Source) {
	return func(s *Source) {
		s.User = role
		if role == testenv.SuperuserName {
			s.Password = testenv.SuperuserPassword
		}
	}
}

func await(t *testing.T, server *testenv.PostgresServer, kind string, n int) {
	t.Helper()
	query := "select count(*) from pg_stat_activity where backend_type like '" + kind + "'"
	for server.Ask(t, query) != fmt.Sprint(n) {
		time.Sleep(5 * time.Millisecond)
	}
}

func TestInUseIsEveryClientAndNeverTooFew(t *testing.T) {
	t.Parallel()
	for _, version := range testenv.Versions(t) {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			t.Parallel()
			server := aServerOf(t, version, map[string]string{"wal_level": "logical"})
			server.Exec(t, "create role walker login replication password '"+appPassword+"'")
			for _, kind := range []string{"true", "database"} {
				config := server.Config("walker", appPassword, "shop")
				config.RuntimeParams["replication"] = kind
				conn, err := pgconn.ConnectConfig(t.Context(), &config.Config)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close(context.Background()) })
			}
			await(t, server, "walsender", 2)
			server.Connect(t, "other", appPassword, "shop")
			busy(t, server, version)
			clients := 4 // The test's eye, other, the busy one, and the look itself.
			for role, workers := range map[string]int32{"app": 0, "seer": 0, testenv.SuperuserName: 0, "other": 1} {
				for len(server.Backends(t)) != clients-2 {
					time.Sleep(time.Millisecond)
				}
				got := observe(t, at(server, as(role)))
				if got.InUse != int32(clients)+workers || got.AdmissionProblem != "" || !got.AdmissionChecked {
					t.Errorf("%s sees %d in use, want %d: %+v", role, got.InUse, int32(clients)+workers, got)
				}
			}
		})
	}
}

// busy has a query of app that runs with a parallel worker until the test ends.
func busy(t *testing.T, server *testenv.PostgresServer, version int) {
	t.Helper()
	force := "debug_parallel_query"
	if version < 16 {
		force = "force_parallel_mode"
	}
	conn := server.Connect(t, "app", appPassword, "shop")
	if _, err := conn.Exec(t.Context(), "set "+force+" = on"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _, _ = conn.Exec(ctx, "select count(pg_sleep(60)) from generate_series(1, 2)") })
	t.Cleanup(func() { cancel(); group.Wait() })
	await(t, server, "parallel worker", 1)
}

func TestWhatARoleMayNotReadBreaksNothingElse(t *testing.T) {
	t.Parallel()
	for _, version := range testenv.Versions(t) {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			t.Parallel()
			server := aServerOf(t, version, nil)
			shop := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
			look := func(statement string) Observation {
				t.Helper()
				if _, err := shop.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
				got := observe(t, at(server))
				if got.MaxConnections != 100 || got.StartTime.IsZero() || !got.BackendPIDMatches || !got.AdmissionChecked {
					t.Errorf("after %s: %+v", statement, got)
				}
				return got
			}
			says := func(got Observation, problem string) {
				t.Helper()
				if !strings.Contains(got.AdmissionProblem, problem) || problem == "" && got.AdmissionProblem != "" {
					t.Errorf("admission: %q, want %q in it", got.AdmissionProblem, problem)
				}
			}
			got := look("revoke execute on function pg_stat_get_wal_senders() from public")
			if says(got, "SQLSTATE 42501"); got.SystemIdentifier == "" {
				t.Errorf("the identifier is lost: %+v", got)
			}
			says(look("grant execute on function pg_stat_get_wal_senders() to public"), "")

			end := map[bool]string{true: "pg_terminate_backend(int)", false: "pg_terminate_backend(int, bigint)"}[version < 14]
			says(look("revoke execute on function "+end+" from public"), "may not end its own")
			says(look("grant execute on function "+end+" to public"), "")

			says(look("revoke usage on language plpgsql from public"), "may not run the block")
			says(look("grant usage on language plpgsql to public"), "")

			if got := look("revoke execute on function pg_control_system() from public"); got.SystemIdentifier != "" || got.InUse == 0 {
				t.Errorf("without the identifier: %+v", got)
			}
			got = look("revoke select on pg_stat_activity from public")
			if says(got, ""); got.Backends != nil {
				t.Errorf("without pg_stat_activity: %+v", got)
			}
		})
	}
}

func TestNumbersThatCanNotBeAreAnAdmissionProblem(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	shop := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	for _, step := range []struct{ does, says string }{
		{`create schema mine; grant usage on schema mine to public; alter role app set search_path = mine, pg_catalog`, ""},
		{`create function mine.current_setting(text) returns text language sql as $$select '5'$$`, "a max_connections of 5, where the server's settings say"},
		{`drop function mine.current_setting(text);
		  create function mine.never(bigint, oid) returns bigint language sql as 'select 0::bigint';
		  create aggregate mine.count(oid) (sfunc = mine.never, stype = bigint, initcond = '0')`, "saw 0, where it must have seen its own"},
		{`drop aggregate mine.count(oid)`, ""},
	} {
		if _, err := shop.Exec(t.Context(), step.does); err != nil {
			t.Fatal(err)
		}
		got := observe(t, at(server)).AdmissionProblem
		if !strings.Contains(got, step.says) || step.says == "" && got != "" {
			t.Errorf("after %s: %q, want %q in it", step.does, got, step.says)
		}
	}
}

func TestAFullServerRoleAndDatabaseAreToldApart(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"max_connections": "8", "superuser_reserved_connections": "2", "max_wal_senders": "0"}
	for _, version := range testenv.Versions(t) {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			t.Parallel()
			server := aServerOf(t, version, settings)
			server.Exec(t, "alter role other connection limit 1", "create database small connection limit 0")
			first := server.Connect(t, "other", appPassword, "shop")
			requireReason(t, at(server, as("other")), RoleFull, "ALTER ROLE ... CONNECTION LIMIT")
			requireReason(t, at(server, func(s *Source) { s.Database = "small" }), DatabaseFull, "ALTER DATABASE ... CONNECTION LIMIT")
			_ = first.Close(t.Context())
			for len(server.Backends(t)) > 0 {
				time.Sleep(time.Millisecond)
			}
			for range 5 { // One more is the superuser's of the test, and two are reserved.
				server.Connect(t, "app", appPassword, "shop")
			}
			requireReason(t, at(server), Full, "no free connection")
			for range 2 {
				server.Superuser(t)
			}
			requireReason(t, at(server), Full, "no free connection") // Now the server turns everybody away.
		})
	}
}
