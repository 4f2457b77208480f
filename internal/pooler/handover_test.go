// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// wellBehaved is what the clients of a hand-over do: simple and extended queries,
// transactions, and prepared statements that outlive their server connection.
func wellBehaved(client int, conn *pgx.Conn) error {
	ctx, n := context.Background(), rand.IntN(1000)
	var got int
	switch client % 4 {
	case 0:
		_, err := conn.Exec(ctx, "select pg_sleep(0.002)", pgx.QueryExecModeSimpleProtocol)
		return err
	case 1: // A prepared statement, as pgx makes by itself.
		err := conn.QueryRow(ctx, "select $1::int + 1", n).Scan(&got)
		return expect(got, n+1, err)
	case 2:
		err := conn.QueryRow(ctx, "select $1::int + 2", pgx.QueryExecModeExec, n).Scan(&got)
		return expect(got, n+2, err)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into ledger values ($1)", n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_sleep(0.01)"); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "select count(*) from ledger where xmin = pg_current_xact_id()::xid").Scan(&got)
		return expect(got, 1, err)
	})
}

func expect(got, want int, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("a query answers %d, want %d", got, want)
	}
	return err
}

func TestTwoPoolersHandOverConnectionsWithoutAFailureOrOneTooMany(t *testing.T) {
	const total, logins = 20, 2
	server := aServer(t)
	db := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	if _, err := db.Exec(t.Context(), "create table ledger (n int); grant all on ledger to app"); err != nil {
		t.Fatal(err)
	}
	cfg := aConfig(server)
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 6})
	shares := [2]int32{10, 10}
	var pods [2]*pod
	var revision string
	for i := range pods {
		pods[i] = aPod(t).start()
		revision = pods[i].config(cfg)
		pods[i].grant(1, shares[i], revision)
		pods[i].runs(1, shares[i])
	}
	sampler := watchServer(t, server)
	var loads []*load
	for _, p := range pods {
		loads = append(loads, p.work(20, wellBehaved, "shop"))
	}
	var took []time.Duration
	gen := int64(1)
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); {
		from := rand.IntN(2)
		if shares[from] == 1 {
			from = 1 - from
		}
		amount := 1 + rand.Int32N(shares[from]-1)
		shares[from] -= amount
		shares[1-from] += amount
		gen++
		begin := time.Now()
		pods[from].grant(gen, shares[from], revision)
		pods[from].settled(gen, shares[from])
		pods[1-from].grant(gen, shares[1-from], revision)
		pods[1-from].runs(gen, shares[1-from])
		took = append(took, time.Since(begin))
	}
	for _, l := range loads {
		l.end(t)
	}
	highest := sampler.stop()[""]
	slices.Sort(took)
	t.Logf("%d hand-overs, median %s, longest %s; at most %d server connections", len(took), took[len(took)/2], took[len(took)-1], highest)
	if highest > total+logins {
		t.Errorf("%d server connections of %d", highest, total)
	}
}
