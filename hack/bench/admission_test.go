// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// logins is how many connections make one turn.
const logins = 30

// TestTheCostOfAdmission: what a new server connection takes with the admission
// query and with an empty one, beside more and more other connections.
func TestTheCostOfAdmission(t *testing.T) {
	server := testenv.Postgres(t, map[string]string{"max_connections": "450"})
	server.Exec(t, "create role "+role+" login password '"+password+"'")
	out := newTable("A new server connection with the admission query, against one with an empty query",
		"beside\twith\twithout\tratio, median\tsmallest to largest\tturns\tthe query alone")
	query := budget.AdmissionQuery(budget.Admission{Withheld: 8})
	others := 0
	for _, backends := range []int{10, 100, 400} {
		for ; others < backends; others++ {
			server.Connect(t, role, password, "postgres")
		}
		var whole pairs
		var alone []float64
		for turn := range rounds {
			var with, without, only float64
			inTurns(turn,
				func() { with, only = login(t, server, query) },
				func() { without, _ = login(t, server, "select 1") })
			whole.add(with, without)
			alone = append(alone, only)
		}
		r := whole.ratios()
		out.row("%d\t%.3g ms\t%.3g ms\t%.3f\t%s\t%d\t%.3g ms", backends, median(whole.ours), median(whole.theirs), median(r), spread(r), len(r), median(alone))
	}
	_ = out.Flush()
}

// login makes connections that run a query, one after the other, and returns the
// medians of the whole and of the query alone, in milliseconds.
func login(t *testing.T, server *testenv.PostgresServer, query string) (whole, alone float64) {
	t.Helper()
	var all, queries []float64
	for range logins {
		start := time.Now()
		conn, err := pgx.ConnectConfig(t.Context(), server.Config(role, password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		connected := time.Now()
		if _, err := conn.PgConn().Exec(t.Context(), query).ReadAll(); err != nil {
			t.Fatal(fmt.Errorf("running the query: %w", err))
		}
		end := time.Now()
		_ = conn.Close(t.Context())
		all = append(all, milliseconds(end.Sub(start)))
		queries = append(queries, milliseconds(end.Sub(connected)))
	}
	return median(all), median(queries)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
