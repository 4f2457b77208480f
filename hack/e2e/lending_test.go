// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// lends has the clients of one pool wait while another is idle, and then the
// other's clients come back.
func (s *story) lends(t *testing.T) {
	guest := aPool(s.namespace, "guest", withReplicas(1))
	s.create(t, aSecret(s.namespace, "guest-db", s.server.role(t, "guest", "")))
	s.create(t, guest)
	s.awaitReady(t, guest)
	entitled := int(*s.lineOf(t, guest).Entitled)

	stop := s.busy(t, s.pool, 80)
	eventually(t, "the idle pool's connections serve the other's clients", func() error {
		if has := s.backendsOf(t, "shop"); has <= int(*s.lineOf(t, s.pool).Entitled)+entitled/2 {
			return fmt.Errorf("the server has %d of them, by the account %+v", has, *s.lineOf(t, s.pool))
		}
		return nil
	})
	stopGuest := s.busy(t, guest, 40)
	eventually(t, "the pool that lent has its own back", func() error {
		if has := s.backendsOf(t, "guest"); has < entitled-1 {
			return fmt.Errorf("the server has %d of them, of %d that it is entitled to", has, entitled)
		}
		return nil
	})
	stopGuest()
	stop()
	s.remove(t, guest)
}

// busy has well-behaved clients query a pool without a pause until stopped. None of
// their queries may fail.
func (w *world) busy(t *testing.T, pool *poolv1.ConnectionPool, clients int) (stop func()) {
	t.Helper()
	steady := &load.Steady{
		Name: pool.Name, URL: string(w.published(t, pool).Data["DATABASE_URL"]), Dial: w.dialer.DialContext,
		Mode: pgx.QueryExecModeSimpleProtocol, Count: clients, Lifetime: time.Minute, Work: 50 * time.Millisecond,
		Failed: func(f load.Failure) { t.Errorf("a client of pool %s, %s: %v", f.Client, f.Doing, f.Err) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { steady.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() {
		cancel()
		running.Wait()
		t.Logf("%d queries of clients of pool %s", steady.Served.Load(), pool.Name)
	}
}

// backendsOf is how many connections a pool's role has at the server.
func (s *story) backendsOf(t *testing.T, role string) int {
	t.Helper()
	text, err := s.query(t.Context(), s.server.AdminURL(),
		"select count(*)::text from pg_stat_activity where application_name <> 'poolfleet-probe' and usename = '"+role+"'")
	if err != nil {
		t.Fatal(err)
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// lineOf is a pool's line in its server's account.
func (w *world) lineOf(t *testing.T, pool *poolv1.ConnectionPool) *poolv1.PoolAccount {
	t.Helper()
	upstream := w.upstreamOf(t, pool)
	for i, line := range upstream.Status.Pools {
		if line.Namespace == pool.Namespace && line.Name == pool.Name {
			return &upstream.Status.Pools[i]
		}
	}
	t.Fatalf("upstream %s has no account of pool %s", upstream.Name, pool.Name)
	return nil
}
