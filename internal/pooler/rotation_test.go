// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestCredentialsAreReplacedInPlace(t *testing.T) {
	p, cfg := aPod(t), aConfig(aServer(t))
	p.grant(1, 4, p.config(cfg))
	p.start()
	p.runs(1, 4)
	login := func(user, password string) (*pgx.Conn, error) {
		return p.client("shop", func(c *pgx.ConnConfig) { c.User, c.Password = user, password })
	}
	old, fresh := cfg.Users[0], pgbouncer.User{Name: "app-abcdefgh", Password: "fresh"}
	conn, err := login(old.Name, old.Password)
	if err != nil {
		t.Fatal(err)
	}
	for step, users := range [][]pgbouncer.User{{fresh, old}, {fresh}} {
		gen := int64(step + 2)
		cfg.Users = users
		p.grant(gen, 4, p.config(cfg))
		p.runs(gen, 4)
		if _, err := login(fresh.Name, fresh.Password); err != nil {
			t.Errorf("step %d: the new credential does not work: %v", step, err)
		}
		if _, err := login(old.Name, old.Password); (err == nil) != (len(users) == 2) {
			t.Errorf("step %d: logging in with the old credential gives %v", step, err)
		}
		if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
			t.Errorf("step %d: a client of the old credential was cut: %v", step, err)
		}
	}
	if n := p.starts(); n != 1 {
		t.Errorf("PgBouncer was started %d times", n)
	}
}
