// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// pooled is a PgBouncer before a server.
type pooled struct {
	*testenv.PgBouncerServer
	server *testenv.PostgresServer
}

func poolerOf(t *testing.T, server *testenv.PostgresServer, limit int32, changes ...func(*pgbouncer.Config)) pooled {
	t.Helper()
	config := pgbouncer.Config{
		Server:               pgbouncer.Server{Host: server.Host, Port: server.Port, TLSMode: "disable"},
		Databases:            []pgbouncer.Database{{Name: "shop", Database: "postgres"}},
		Mode:                 pgbouncer.ModeTransaction,
		Lookup:               pgbouncer.Lookup{User: seer, Password: password, Query: lookup.Query()},
		MaxClientConnections: 100,
		ConnectQuery:         budget.AdmissionQuery(budget.Admission{Withheld: 3}),
		Parameters:           map[string]string{"query_wait_timeout": "10"},
	}
	for _, change := range changes {
		change(&config)
	}
	return pooled{testenv.PgBouncer(t, pgbouncer.Rendering{Config: config, Limits: pgbouncer.Limits{"shop": limit}}), server}
}

func (p pooled) dial(t *testing.T, user, secret string) (*pgx.Conn, error) {
	t.Helper()
	config := p.server.Config(user, secret, "shop")
	config.Port = p.Port
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

func (p pooled) login(t *testing.T, user, secret string) *pgx.Conn {
	t.Helper()
	conn, err := p.dial(t, user, secret)
	if err != nil {
		t.Fatalf("connecting through PgBouncer as %s: %v\n%s", user, err, p.Log())
	}
	return conn
}

// refuse fails unless PgBouncer refuses the login as it does for a wrong password.
func (p pooled) refuse(t *testing.T, user, secret string) {
	t.Helper()
	_, err := p.dial(t, user, secret)
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || refusal.Code != "28P01" && refusal.Code != "08P01" && refusal.Code != "28000" || strings.Contains(refusal.Message, "timeout") {
		t.Errorf("a login as %q with %q got %v, want a refusal", user, secret, err)
	}
}

// serial tells roles of tests apart.
var serial atomic.Int64

func whoami(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var user string
	if err := conn.QueryRow(t.Context(), "select current_user || ' ' || session_user").Scan(&user); err != nil {
		t.Errorf("asking who a client is: %v", err)
	}
	return user
}

func TestLookupThroughPgBouncer(t *testing.T) {
	t.Parallel()
	server := aServer(t, 0)
	with := " password '" + password + "'"
	server.Exec(t, installation().SQL(), "create role bob login"+with, `create role "Ünï'"";x" login`+with,
		"create role past login valid until '2001-01-01'"+with, "create role super login superuser"+with, "create role walker login replication"+with,
		"create role bare login", "create role locked nologin"+with,
		"set password_encryption = 'md5'", "create role old login"+with, "reset password_encryption")
	for name, test := range map[string]func(visit){
		"every client is itself at the server":                 everyClientIsItself,
		"who may not use a pool is refused":                    whoMayNot,
		"a function that is not to be believed lets nobody in": nobodyAtAll,
		"no guess takes over the connections of another":       neverByGuess,
		"a changed password counts from the next login on":     changedPassword,
		"one connection serves clients of many roles":          oneConnection,
		"one connection serves sessions of many roles":         oneSession,
	} {
		t.Run(name, func(t *testing.T) {
			test(visit{t, shop{server, "postgres"}})
		})
	}
}

func everyClientIsItself(on visit) {
	t, server := on.t, on.PostgresServer
	p := poolerOf(t, server, 4)
	for range 2 { // The second time over connections that are there.
		for _, user := range []string{alice, "bob", upstream, `Ünï'";x`} {
			conn := p.login(t, user, password)
			if got := whoami(t, conn); got != user+" "+user {
				t.Errorf("%s is %q at the server", user, got)
			}
			_ = conn.Close(t.Context())
		}
	}
}

func nobodyAtAll(on visit) {
	t, server := on.t, on.PostgresServer
	p := poolerOf(t, server, 4, func(c *pgbouncer.Config) { c.Lookup.Query = lookup.Nobody() })
	for _, guess := range []string{"", "md5", password} {
		for range 2 {
			p.refuse(t, alice, guess)
			p.refuse(t, "pg_nobody", guess)
		}
	}
}

func whoMayNot(on visit) {
	t, server := on.t, on.PostgresServer
	p := poolerOf(t, server, 4)
	whoami(t, p.login(t, alice, password))
	for _, user := range []string{
		"past", "super", "walker", "bare", "locked", "old", seer, "nobody", "pg_nobody", "pgbouncer", "pg_monitor", "ALICE",
		"alice' or 'a'='a",
	} {
		p.refuse(t, user, password)
	}
	p.refuse(t, testenv.SuperuserName, testenv.SuperuserPassword)
	for _, secret := range []string{"wrong", "", "md5"} {
		p.refuse(t, alice, secret)
		p.refuse(t, "bare", secret)
	}
	if got := whoami(t, p.login(t, alice, password)); got != "alice alice" {
		t.Errorf("after refusals alice is %q", got)
	}
}

func changedPassword(on visit) {
	t, server := on.t, on.PostgresServer
	server.Exec(t, "create role carol login password '"+password+"'")
	p := poolerOf(t, server, 4)
	before := p.login(t, "carol", password)
	whoami(t, before)
	server.Exec(t, "alter role carol password 'another'")
	p.refuse(t, "carol", password)
	after := p.login(t, "carol", "another")
	for _, conn := range []*pgx.Conn{before, after} {
		if got := whoami(t, conn); got != "carol carol" {
			t.Errorf("carol is %q", got)
		}
	}
	// New server connections take the new secret.
	if err := p.Admin.Reconnect(t.Context(), "shop"); err != nil {
		t.Fatalf("replacing server connections: %v", err)
	}
	if got := whoami(t, after); got != "carol carol" {
		t.Errorf("over a new server connection carol is %q", got)
	}
	_ = before.Close(t.Context())
	_ = after.Close(t.Context())
}

// neverByGuess has server connections of a role wait in the pool, which PgBouncer hands
// out to whoever it takes for that role.
func neverByGuess(on visit) {
	t, server := on.t, on.PostgresServer
	for name, change := range map[string][]string{
		"an expired role":                   {"alter role %s valid until '2001-01-01'"},
		"a role that may not log in":        {"alter role %s nologin"},
		"a role without a password":         {"alter role %s password null"},
		"a role that became a superuser":    {"alter role %s superuser"},
		"a role of another name":            {"alter role %s rename to %[1]s_now", "alter role %[1]s_now password '" + password + "'"},
		"a role that is gone":               {"drop role %s"},
		"a function that may not be called": {"revoke execute on function poolfleet.find_user(text) from seer"},
	} {
		t.Run(name, func(t *testing.T) {
			user := fmt.Sprintf("guest%d", serial.Add(1))
			server.Exec(t, "create role "+user+" login password '"+password+"'")
			p := poolerOf(t, server, 4)
			p.refuse(t, user, "wrong")
			held := p.login(t, user, password)
			whoami(t, held)
			_ = p.login(t, user, password).Close(t.Context())
			for _, statement := range change {
				server.Exec(t, strings.ReplaceAll(strings.ReplaceAll(statement, "%[1]s", user), "%s", user))
			}
			for _, guess := range []string{"", "md5", "wrong", password} {
				p.refuse(t, user, guess)
			}
			if err := held.Ping(t.Context()); err != nil {
				t.Errorf("a client that was there before: %v", err)
			}
			server.Exec(t, installation().SQL())
		})
	}
}

func oneConnection(on visit) {
	t, server := on.t, on.PostgresServer
	p := poolerOf(t, server, 1)
	var group sync.WaitGroup
	for _, user := range []string{alice, "bob", upstream} {
		group.Go(func() {
			for range 3 {
				conn, err := p.dial(t, user, password)
				if err != nil {
					t.Errorf("connecting as %s: %v", user, err)
					return
				}
				for range 3 {
					if got := whoami(t, conn); got != user+" "+user {
						t.Errorf("%s is %q", user, got)
					}
				}
				_ = conn.Close(t.Context())
			}
		})
	}
	group.Wait()
}

func oneSession(on visit) {
	t, server := on.t, on.PostgresServer
	p := poolerOf(t, server, 1, func(c *pgbouncer.Config) { c.Mode = pgbouncer.ModeSession })
	first := p.login(t, alice, password)
	whoami(t, first)
	second := make(chan error, 1)
	go func() {
		conn, err := p.dial(t, "bob", password)
		if err == nil && whoami(t, conn) != "bob bob" {
			err = fmt.Errorf("bob is somebody else")
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Errorf("a second session went on beside the first: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	_ = first.Close(t.Context())
	if err := <-second; err != nil {
		t.Errorf("the second session: %v", err)
	}
}
