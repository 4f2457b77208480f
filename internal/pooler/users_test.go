// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestClientsLogInThoughPgBouncerKnowsOnlyTheirSecret(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	server.Exec(t, "create role elsewhere password '"+clientPassword+"'")
	cfg := aConfig(server)
	cfg.Users[0].Password = server.Ask(t, "select rolpassword from pg_authid where rolname = 'elsewhere'")
	p := aPod(t).start()
	p.grant(1, 2, p.config(cfg))
	p.runs(1, 2)
	if conn, err := p.client("shop"); err != nil || conn.QueryRow(t.Context(), "select 1").Scan(new(int)) != nil {
		t.Errorf("with the password: %v", err)
	}
	for name, password := range map[string]string{"another password": "another", "the secret itself": cfg.Users[0].Password} {
		if _, err := p.client("shop", func(c *pgx.ConnConfig) { c.Password = password }); err == nil {
			t.Errorf("with %s a client was let in", name)
		}
	}
	files, err := filepath.Glob(filepath.Join(p.options.RunDir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(clientPassword)) {
			t.Errorf("the password is in %s", file)
		}
	}
}

const finderPassword = "s3cret of the finder"

// lookingUp is a configuration in which PgBouncer finds its users at the server, and
// makes some of them, with the password of all clients.
func lookingUp(t *testing.T, server *testenv.PostgresServer, roles int) pgbouncer.Config {
	t.Helper()
	server.Exec(t, "create role finder login password '"+finderPassword+"'")
	db := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	for _, statement := range []string{
		`create function find(name text) returns table (rolname name, rolpassword text) language sql security definer
		 set search_path = pg_catalog as 'select rolname, rolpassword from pg_authid where rolname = $1 and rolcanlogin'`,
		"revoke execute on function find from public", "grant execute on function find to finder",
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for i := range roles {
		server.Exec(t, fmt.Sprintf("create role role%d login password '%s'", i, clientPassword))
	}
	cfg := aConfig(server)
	cfg.Server.User, cfg.Server.Password, cfg.Users = "", "", nil
	cfg.Lookup = pgbouncer.Lookup{User: "finder", Password: finderPassword, Query: "select rolname, rolpassword from public.find($1)"}
	return cfg
}

func as(role, password string) func(*pgx.ConnConfig) {
	return func(c *pgx.ConnConfig) { c.User, c.Password = role, password }
}

func TestClientsThatAreLookedUpAreTheirOwnRolesAtTheServer(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, map[string]string{"max_connections": "20"})
	prepare(t, server)
	cfg := lookingUp(t, server, 2)
	server.Exec(t, "set password_encryption = 'md5'", "create role aged login password '"+clientPassword+"'", "reset password_encryption",
		"create role nobody nologin password '"+clientPassword+"'")
	p := aPod(t).start()
	p.grant(1, 2, p.config(cfg))
	p.runs(1, 2)
	for _, role := range []string{"role0", "role1"} {
		var who string
		conn, err := p.client("shop", as(role, clientPassword))
		if err == nil {
			err = conn.QueryRow(t.Context(), "select session_user").Scan(&who)
		}
		if err != nil || who != role {
			t.Errorf("%s is %q at the server, %v", role, who, err)
		}
	}
	for name, client := range map[string]func(*pgx.ConnConfig){
		"a wrong password":                 as("role0", "wrong"),
		"a role that there is not":         as("missing", clientPassword),
		"a role that may not log in":       as("nobody", clientPassword),
		"a role whose password is in md5":  as("aged", clientPassword),
		"the role that looks others up":    as("finder", finderPassword),
		"the role of other configurations": as("client", clientPassword),
	} {
		if _, err := p.client("shop", client); err == nil {
			t.Errorf("%s: a client was let in", name)
		}
	}
}

// watchPgBouncer notes the most server connections that PgBouncer has. The server's
// own count is higher at times: a backend ends a moment after its connection.
func watchPgBouncer(t *testing.T, p *pod) (stop func() int32) {
	t.Helper()
	done, ended, highest := make(chan struct{}), make(chan error, 1), int32(0)
	go func() {
		for {
			sample, err := p.console().Sample(context.Background())
			if err != nil {
				ended <- err
				return
			}
			for _, db := range sample.Databases {
				highest = max(highest, db.CurrentConnections)
			}
			select {
			case <-done:
				ended <- nil
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() int32 {
		close(done)
		if err := <-ended; err != nil {
			t.Errorf("asking PgBouncer: %v", err)
		}
		return highest
	}
}

func TestManyRolesShareTheLimitAndAllAreServed(t *testing.T) {
	for _, limit := range []int32{4, 1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			server := testenv.Postgres(t, map[string]string{"max_connections": "30"})
			prepare(t, server)
			const roles = 6
			cfg := lookingUp(t, server, roles)
			cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 10})
			p := aPod(t).start()
			p.grant(1, limit, p.config(cfg))
			p.runs(1, limit)
			stop := watchPgBouncer(t, p)
			clients := &load{stop: func() {}}
			for role := range roles {
				clients.clients.Go(func() {
					for range 10 { // Each is looked up, and leaves.
						conn, err := p.client("shop", as(fmt.Sprintf("role%d", role), clientPassword))
						if err == nil {
							_, err = conn.Exec(context.Background(), "select pg_sleep(0.005)")
							_ = conn.Close(context.Background())
						}
						clients.count(err)
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			clients.end(t)
			if highest := stop(); highest > limit {
				t.Errorf("PgBouncer had %d server connections, its limit is %d", highest, limit)
			}
		})
	}
}

func TestABusyRoleLeavesOthersTheirPart(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, map[string]string{"max_connections": "30"})
	prepare(t, server)
	cfg := lookingUp(t, server, 3)
	p := aPod(t).start()
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	p.as = as("role0", clientPassword)
	clients := p.load(12, "select pg_sleep(0.005)", "shop")
	for _, role := range []string{"role1", "role2"} {
		conn, err := p.client("shop", as(role, clientPassword))
		for i := 0; i < 20 && err == nil; i++ {
			_, err = conn.Exec(t.Context(), "select pg_sleep(0.005)")
		}
		if err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	clients.end(t)
}
