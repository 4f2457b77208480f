// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && bench

package e2e

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

const (
	benchTurns = 5
	// idle is longer than a pool's need is remembered.
	idle = 40 * time.Second
)

// TestBenchHandOversAndLoans measures, at the server, how fast connections move
// between two pools, and how many of them are used.
func TestBenchHandOversAndLoans(t *testing.T) {
	w := connect(t)
	w.install(t)
	b := w.benchmark(t)
	t.Run("hand-overs", b.handOvers)
	t.Run("loans", b.loans)
}

// benchmark is two pools on one server, each with a role of its own.
type benchmark struct {
	*world
	server      *server
	left, right *poolv1.ConnectionPool
	budget      int
}

func (w *world) benchmark(t *testing.T) *benchmark {
	t.Helper()
	namespace := w.namespace(t)
	b := &benchmark{world: w}
	b.server = w.startServer(t, install.Postgres{Namespace: namespace, Name: "postgres", Settings: []string{"max_connections=100"}})
	for name, pool := range map[string]**poolv1.ConnectionPool{"west": &b.left, "east": &b.right} {
		*pool = aPool(namespace, name, withReplicas(2))
		w.create(t, aSecret(namespace, name+"-db", b.server.role(t, name, "")))
		w.create(t, *pool)
	}
	for _, pool := range []*poolv1.ConnectionPool{b.left, b.right} {
		w.awaitReady(t, pool)
	}
	b.budget = int(*w.upstreamOf(t, b.left).Status.Capacity.Budget)
	return b
}

// backends are the connections of both pools at the server.
func backends(t *testing.T, conn *pgconn.PgConn) (left, right int) {
	t.Helper()
	const query = `select count(*) filter (where usename = 'west')::text || ' ' || count(*) filter (where usename = 'east')::text
		from pg_stat_activity where application_name <> 'poolfleet-probe'`
	results, err := conn.Exec(t.Context(), query).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	one, other, _ := strings.Cut(string(results[0].Rows[0][0]), " ")
	left, _ = strconv.Atoi(one)
	right, _ = strconv.Atoi(other)
	return left, right
}

func (b *benchmark) watch(t *testing.T) *pgconn.PgConn {
	t.Helper()
	config, err := load.Config(b.server.AdminURL(), b.dialer.DialContext)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// until returns how long it takes until the server shows what is awaited.
func until(t *testing.T, conn *pgconn.PgConn, what string, arrived func(left, right int) bool) time.Duration {
	t.Helper()
	for started := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left, right := backends(t, conn)
		if arrived(left, right) {
			return time.Since(started)
		}
		if time.Since(started) > patience {
			t.Fatalf("waiting until %s: the server has %d and %d connections", what, left, right)
		}
	}
}

// handOvers moves half a share back and forth while the clients of both pools wait
// for more.
func (b *benchmark) handOvers(t *testing.T) {
	conn := b.watch(t)
	stopLeft, stopRight := b.busy(t, b.left, 120), b.busy(t, b.right, 120)
	defer stopLeft()
	defer stopRight()
	until(t, conn, "all is in use", func(left, right int) bool { return left+right >= b.budget-2 })
	var times, used []float64
	for turn := range 2 * benchTurns {
		weight := int32(300 - 200*(turn%2))
		b.change(t, b.left, func() { b.left.Spec.ServerConnections.Weight = weight })
		goal := b.budget * int(weight) / (int(weight) + 100)
		took := until(t, conn, "the share has moved", func(left, _ int) bool { return left >= goal-1 && left <= goal+1 })
		times = append(times, took.Seconds())
		used = append(used, b.inUse(t, conn, 4*time.Second))
	}
	t.Logf("half a share handed over under load, in seconds: median %.2f, worst %.2f of %d", middle(times), slices.Max(times), len(times))
	t.Logf("budget in use while both have demand, after hand-overs: median %.1f %%, least %.1f %%", 100*middle(used), 100*slices.Min(used))
}

// inUse is the mean part of the budget that the pools have connections for.
func (b *benchmark) inUse(t *testing.T, conn *pgconn.PgConn, span time.Duration) float64 {
	t.Helper()
	sum, samples := 0, 0
	for started := time.Now(); time.Since(started) < span; time.Sleep(10 * time.Millisecond) {
		left, right := backends(t, conn)
		sum, samples = sum+left+right, samples+1
	}
	return float64(sum) / float64(samples*b.budget)
}

// loans has one pool wait while the other is idle, and then the other come back.
func (b *benchmark) loans(t *testing.T) {
	b.change(t, b.left, func() { b.left.Spec.ServerConnections.Weight = 100 })
	conn := b.watch(t)
	half := b.budget / 2
	var out, used, back []float64
	for range benchTurns {
		time.Sleep(idle)
		stopLeft := b.busy(t, b.left, 150)
		out = append(out, until(t, conn, "the idle pool's connections serve", func(left, _ int) bool { return left > half+half/2 }).Seconds())
		time.Sleep(2 * time.Second)
		used = append(used, b.inUse(t, conn, 3*time.Second))
		stopRight := b.busy(t, b.right, 120)
		back = append(back, until(t, conn, "the loan is back", func(_, right int) bool { return right >= half-1 }).Seconds())
		stopRight()
		stopLeft()
	}
	t.Logf("until an idle pool's connections serve another's clients, in seconds: median %.2f, worst %.2f of %d", middle(out), slices.Max(out), len(out))
	t.Logf("budget in use with one pool idle: median %.1f %%", 100*middle(used))
	t.Logf("until the loan is back, in seconds: median %.2f, worst %.2f of %d", middle(back), slices.Max(back), len(back))
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
