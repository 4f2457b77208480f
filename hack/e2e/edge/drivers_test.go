// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestWorkers has Workers reach one pool in every way there is. The parts share an
// installation and run in this order.
func TestWorkers(t *testing.T) {
	c := connect(t)
	authority := c.install(t, install.Edge{Domain: domain, Legacy: true})
	s := open(t, c, authority)
	s.startWorker(t)
	for _, d := range drivers {
		for _, way := range d.ways {
			t.Run(d.name+" by "+way, func(t *testing.T) { s.drives(t, d, way) })
		}
	}
	t.Run("bad input is named", s.badInput)
	t.Run("the certificate of another is refused", s.verifies)
	t.Run("500 requests at once are served by the pool's share", s.flood)
	t.Run("the tutorial holds as it is written", s.tutorial)
	t.Run("Accelerate's clients are served as by Accelerate", s.accelerates)
	t.Run("clients that have gone leave no WebSocket behind", s.letsGo)
	t.Run("the gateway tells no secret", s.tellsNoSecret)
}

// driver is what differs from one driver to another.
type driver struct {
	name string
	ways []string
	// big and amount are how a bigint and a numeric come.
	big, amount string
	// conflict is how the application sees a unique violation.
	conflict problem
	// undone is what undoes the transaction: an error of the application's own, but in
	// a batch, which has only the database's. For a driver without transactions it is
	// what that says.
	undone         string
	noTransactions bool
}

var (
	sockets = []string{plain, verified, hyperdrive, hyperdriveTLS}
	edge    = []string{gateway}

	text     = driver{big: "9223372036854775807", amount: "12345678901234567890.123456789"}
	violated = problem{Code: "23505"}
	prisma   = problem{Code: "P2002", Database: "23505"}
)

const changedMind = "changed my mind"

var drivers = []driver{
	{"pg", sockets, text.big, text.amount, violated, changedMind, false},
	{"postgres", sockets, text.big, text.amount, violated, changedMind, false},
	{"prisma-pg", sockets, text.big + "n", "Decimal " + text.amount, prisma, changedMind, false},
	{"neon-http", edge, text.big, text.amount, violated, "23505", false},
	{"neon-pool", edge, text.big, text.amount, violated, changedMind, false},
	{"neon-client", edge, text.big, text.amount, violated, changedMind, false},
	{"prisma-neon", edge, text.big + "n", "Decimal " + text.amount, prisma, changedMind, false},
	{"prisma-neon-http", edge, text.big + "n", "Decimal " + text.amount, violated, "Transactions are not supported in HTTP mode", true},
}

func (s *shop) drives(t *testing.T, d driver, way string) {
	t.Helper()
	id := d.name + "/" + way
	s.readsAndWrites(t, d, way, id)
	s.transacts(t, d, way, id)
	err := s.worker.ask(t.Context(), d.name, way, "conflict", id+"/conflict", nil)
	var seen *problem
	if !errors.As(err, &seen) || seen.Code != d.conflict.Code || seen.Database != d.conflict.Database {
		t.Errorf("a unique violation is %v to the application, want %s %s", err, d.conflict.Code, d.conflict.Database)
	}
}

func (s *shop) readsAndWrites(t *testing.T, d driver, way, id string) {
	t.Helper()
	var values struct {
		Read    map[string]any
		Updated string
		Left    int
	}
	if err := s.worker.ask(t.Context(), d.name, way, "values", id, &values); err != nil {
		t.Errorf("reading and writing: %v", err)
		return
	}
	if diff := cmp.Diff(d.thing(id), values.Read); diff != "" {
		t.Errorf("a row comes back otherwise than it was written (-want +got):\n%s", diff)
	}
	if values.Updated != "something" || values.Left != 0 {
		t.Errorf("an updated row says %q, and %d are left of a deleted one", values.Updated, values.Left)
	}
}

func (s *shop) transacts(t *testing.T, d driver, way, id string) {
	t.Helper()
	type outcome struct {
		Committed, Undone int
		Thrown            string
		OneBackend        bool
	}
	var got outcome
	err := s.worker.ask(t.Context(), d.name, way, "transaction", id, &got)
	var seen *problem
	switch {
	case d.noTransactions:
		if !errors.As(err, &seen) || seen.Message != d.undone {
			t.Errorf("a transaction says %v, want %q", err, d.undone)
		}
	case err != nil:
		t.Errorf("in a transaction: %v", err)
	default:
		if diff := cmp.Diff(outcome{70, 70, d.undone, true}, got); diff != "" {
			t.Errorf("a transaction does otherwise (-want +got):\n%s", diff)
		}
	}
}

// thing is what the Worker writes and reads, in its spelling.
func (d driver) thing(id string) map[string]any {
	return map[string]any{
		"id":      id,
		"tags":    []any{"plain", `with "quotes"`, "comma, and {braces}", ""},
		"numbers": []any{1.0, -2.0, 3.0},
		"doc":     map[string]any{"nested": map[string]any{"list": []any{1.0, "two", nil, true}}, "text": "ünïcödé ✓"},
		"bytes":   "Bytes 0 1 127 128 255",
		"big":     d.big,
		"amount":  d.amount,
		"day":     "Date 2024-02-29T00:00:00.000Z",
		"at":      "Date 2024-02-29T23:59:59.987Z",
		"nothing": nil,
	}
}
