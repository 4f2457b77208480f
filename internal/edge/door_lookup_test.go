// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// lookingUp makes clients roles of the server, which PgBouncer looks up.
func lookingUp(t testing.TB, s *site) {
	t.Helper()
	s.Postgres.Exec(t, "create role seer login password '"+clientPassword+"'", "create role alice login password '"+clientPassword+"'",
		"create role bare login", "create role old login valid until '2001-01-01' password '"+clientPassword+"'",
		lookup.Installation{User: "seer", Owner: "owner", Databases: []string{"postgres"}}.SQL())
	config := &s.Rendering.Config
	config.Server.User, config.Server.Password, config.Users = "", "", nil
	config.Databases[0].Database = "postgres"
	config.Lookup = pgbouncer.Lookup{User: "seer", Password: clientPassword, Query: lookup.Query()}
	s.Login.User = "alice"
}

func TestWhereUsersAreLookedUpAllWhoMayNotComeHearTheSame(t *testing.T) {
	s := aSite(t, lookingUp)
	for user, password := range map[string]string{
		"alice": "guess", "nobody": clientPassword, "bare": clientPassword, "old": clientPassword, "seer": clientPassword, "postgres": clientPassword,
	} {
		door := edge.Door{Timeout: patience}
		_, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, edge.Login{User: user, Password: password, Database: "shop"})
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "28P01" || refused.Message != `password authentication failed for user "`+user+`"` {
			t.Errorf("%s hears %v", user, err)
		}
	}
	door := edge.Door{Timeout: patience}
	conn, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, s.Login)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAServerThatDoesNotTakeThePoolersLoginIsNotTheClientsMistake(t *testing.T) {
	s := aSite(t, func(_ testing.TB, s *site) { s.Rendering.Config.Server.Password = "outdated" })
	failed := 0
	door := edge.Door{Timeout: patience, Failed: func(edge.Pool) { failed++ }}
	for range 2 { // PgBouncer says it in other words once it remembers.
		_, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, s.Login)
		var refusal *edge.Refusal
		if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || strings.Contains(refusal.Message, "owner") {
			t.Errorf("it says %v", err)
		}
	}
	if failed != 0 {
		t.Errorf("%d wrong passwords are counted", failed)
	}
}
