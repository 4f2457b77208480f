// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestDriversAreLetInWithWhatTheySend(t *testing.T) {
	server := testenv.Postgres(t, nil)
	server.Exec(t, "create role u login password 'hush-hush'", "create database a owner u")
	cfg := aConfig(func(c *pgbouncer.Config) {
		c.Server.Host, c.Server.Port, c.Server.TLSMode = server.Host, server.Port, "disable"
	})
	rendering := pgbouncer.Rendering{Config: cfg, Limits: pgbouncer.Limits{"a": 2}}
	t.Run("what they append to a URL lets them in", func(t *testing.T) { letsIn(t, rendering) })
	t.Run("of the options those are followed that PgBouncer keeps track of", func(t *testing.T) { followsOptions(t, rendering) })
	t.Run("another startup parameter is ignored from the reload on", func(t *testing.T) { ignoresAnother(t, rendering) })
	t.Run("each client prepares a statement of the same name", func(t *testing.T) { preparesAnew(t, rendering) })
}

// ask logs in with startup parameters, as a driver does, and runs a query.
func ask(t *testing.T, at *testenv.PgBouncerServer, parameters map[string]string, query string) (string, error) {
	t.Helper()
	conn, err := connectWith(t, at, parameters)
	if err != nil {
		return "", err
	}
	result := conn.ExecParams(t.Context(), query, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return "", result.Err
	}
	return string(result.Rows[0][0]), nil
}

// connectWith leaves the connection open: isolates do not say goodbye.
func connectWith(t *testing.T, at *testenv.PgBouncerServer, parameters map[string]string) (*pgconn.PgConn, error) {
	t.Helper()
	config, err := pgconn.ParseConfig("host=127.0.0.1 user=app password=hush-too dbname=a sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.Port, config.RuntimeParams = at.Port, parameters
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	}
	return conn, err
}

// A driver sends as a startup parameter what it finds in the URL and does not know.
func letsIn(t *testing.T, rendering pgbouncer.Rendering) {
	t.Helper()
	at := testenv.PgBouncer(t, rendering)
	for _, query := range []string{
		"pgbouncer=true", "pgbouncer=true&connection_limit=1&pool_timeout=20", "schema=public",
		"options=-c statement_timeout=5000", "options=--statement_timeout=5000", "channel_binding=require", "statement_cache_size=0",
		"default_query_exec_mode=exec", "application_name=shop", "connect_timeout=10", "target_session_attrs=read-write",
		"prepare=false", "sslmode=require", "sslmode=verify-full&sslrootcert=system&sslnegotiation=direct", "uselibpqcompat=true",
		"sslcert=a&sslkey=b&sslpassword=c&sslidentity=d&sslaccept=strict", "gssencmode=disable", "supa=base-pooler.x",
		"socket_timeout=5&max_connection_lifetime=60&max_idle_connection_lifetime=60&single_use_connections=true",
		"statement_timeout=5000&lock_timeout=100&idle_in_transaction_session_timeout=1000", "extra_float_digits=2", "jit=off",
		"search_path=public", "client_encoding=UTF8&TimeZone=UTC&DateStyle=ISO",
	} {
		parameters := map[string]string{}
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			parameters[name] = value
		}
		if got, err := ask(t, at, parameters, "select 'in'"); got != "in" {
			t.Errorf("?%s: %q, %v", query, got, err)
		}
	}
}

func followsOptions(t *testing.T, rendering pgbouncer.Rendering) {
	t.Helper()
	at := testenv.PgBouncer(t, rendering)
	const query = "select current_setting('TimeZone') || ' ' || current_setting('statement_timeout')"
	for options, want := range map[string]string{
		"-c TimeZone=Asia/Tokyo -c statement_timeout=5000": "Asia/Tokyo 0",
		"-c TimeZone=Europe/Rome":                          "Europe/Rome 0",
		"-c statement_timeout=5000":                        "UTC 0",
	} {
		if got, err := ask(t, at, map[string]string{"options": options}, query); got != want {
			t.Errorf("%q: %q, %v; want %q", options, got, err, want)
		}
	}
}

func ignoresAnother(t *testing.T, rendering pgbouncer.Rendering) {
	t.Helper()
	at := testenv.PgBouncer(t, rendering)
	parameters := map[string]string{"of_our_own": "x"}
	if _, err := ask(t, at, parameters, "select 1"); err == nil {
		t.Error("a parameter that nobody knows lets a client in")
	}
	rendering.Config.Parameters = map[string]string{"ignore_startup_parameters": "of_our_own"}
	at.Write(t, rendering)
	if err := at.Admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, known := range []map[string]string{parameters, {"pgbouncer": "true"}} {
		if got, err := ask(t, at, known, "select 1"); got != "1" {
			t.Errorf("%v after the reload: %q, %v", known, got, err)
		}
	}
}

// An isolate that comes back has forgotten which statements it prepared.
func preparesAnew(t *testing.T, rendering pgbouncer.Rendering) {
	t.Helper()
	at := testenv.PgBouncer(t, rendering)
	for range 3 {
		conn, err := connectWith(t, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Prepare(t.Context(), "q1", "select $1::int + 1", nil); err != nil {
			t.Fatal(err)
		}
		result := conn.ExecPrepared(t.Context(), "q1", [][]byte{[]byte("1")}, nil, nil).Read()
		if result.Err != nil || string(result.Rows[0][0]) != "2" {
			t.Errorf("%v: %v", result.Rows, result.Err)
		}
	}
}
