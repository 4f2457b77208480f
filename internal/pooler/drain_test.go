// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// service is where clients find a pod that is ready, as they do by a Service.
type service struct {
	mu   sync.Mutex
	pods []*pod
	next int
}

func (s *service) change(f func([]*pod) []*pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = f(s.pods)
}

func (s *service) connect() (*pgx.Conn, error) {
	s.mu.Lock()
	s.next++
	p := s.pods[s.next%len(s.pods)]
	s.mu.Unlock()
	return p.client("shop")
}

// traveller is a client that keeps its connection, thinks, and works.
type traveller struct {
	checks bool
	think  time.Duration
	work   func(ctx context.Context, conn *pgx.Conn) error
}

// tally counts what travellers saw.
type tally struct {
	mu       sync.Mutex
	queries  int
	moves    int
	failures map[string]int
}

func (a *tally) note(moves, queries int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moves += moves
	a.queries += queries
	if err != nil {
		a.failures[err.Error()]++
	}
}

func (a *tally) String() string {
	return fmt.Sprintf("%d queries on %d connections, failed: %v", a.queries, a.moves, a.failures)
}

// travel lets a client work until ctx ends.
func (c traveller) travel(ctx context.Context, through *service, seen *tally) {
	var conn *pgx.Conn
	for ctx.Err() == nil {
		if conn == nil || conn.IsClosed() || c.checks && conn.Ping(context.Background()) != nil {
			fresh, err := through.connect()
			seen.note(1, 0, err)
			if err != nil {
				continue
			}
			conn = fresh
		}
		seen.note(0, 1, c.work(context.Background(), conn))
		time.Sleep(c.think)
	}
}

func query(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "select pg_sleep(0.002)")
	return err
}

func transaction(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "select pg_sleep(0.3)")
		time.Sleep(200 * time.Millisecond)
		return err
	})
}

// travellers are travellers of all kinds, in the same proportions.
func travellers(size int, checks bool) (all []traveller) {
	for i := range size {
		think := time.Duration([]int{300, 400, 500, 1000, 2500}[i%5]) * time.Millisecond
		work := query
		if i%6 == 5 {
			work = transaction
		}
		all = append(all, traveller{checks, think, work})
	}
	return all
}

// drains is how many pods are replaced.
const drains = 3

func TestClientsThatCheckSeeNothingOfADrain(t *testing.T) {
	server := aServer(t)
	cfg := aConfig(server)
	pods := &service{}
	start := func() *pod {
		p := aPod(t)
		p.options.SpreadTime = 500 * time.Millisecond
		p.start()
		p.grant(1, 20, p.configDraining(cfg, 13))
		p.runs(1, 20)
		pods.change(func(all []*pod) []*pod { return append(all, p) })
		return p
	}
	old := []*pod{start(), start()}
	ctx, stop := context.WithCancel(t.Context())
	checking, blind := &tally{failures: map[string]int{}}, &tally{failures: map[string]int{}}
	var clients sync.WaitGroup
	for _, c := range travellers(60, true) {
		clients.Go(func() { c.travel(ctx, pods, checking) })
	}
	for _, c := range travellers(10, false) {
		clients.Go(func() { c.travel(ctx, pods, blind) })
	}
	var took []time.Duration
	for range drains {
		old = append(old, start())
		leaving := old[0]
		old = old[1:]
		begin := time.Now()
		leaving.cancel()
		eventually(t, "it is not ready", func() bool { return !leaving.ready() })
		pods.change(func(all []*pod) []*pod {
			return slices.DeleteFunc(all, func(p *pod) bool { return p == leaving })
		})
		leaving.stop()
		took = append(took, time.Since(begin))
	}
	stop()
	clients.Wait()
	cut := 0
	for _, count := range blind.failures {
		cut += count
	}
	t.Logf("%d drains took %s; clients that check: %s; that do not: %s", drains, took, checking, blind)
	if cut > blind.moves {
		t.Errorf("clients that do not check failed %d times on %d connections: want once each at most", cut, blind.moves)
	}
	if len(checking.failures) > 0 || checking.queries == 0 {
		t.Errorf("clients that check failed: %v", slices.Collect(maps.Keys(checking.failures)))
	}
}

// configDraining is config with a drain timeout.
func (p *pod) configDraining(cfg pgbouncer.Config, seconds int32) string {
	p.t.Helper()
	return p.lay(contract.Document{Version: contract.DocumentVersion, StatusKey: statusKey, PgBouncer: cfg, DrainTimeoutSeconds: &seconds})
}

func TestADrainOfNoTimeEndsWhenTheNewsHasSpread(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t)
	p.options.SpreadTime = time.Second
	p.start()
	p.grant(1, 5, p.configDraining(aConfig(server), 0))
	p.runs(1, 5)
	_, commit := p.transaction()
	begin := time.Now()
	p.cancel()
	eventually(t, "it is not ready", func() bool { return !p.ready() })
	if _, err := p.client("shop"); err != nil && time.Since(begin) < p.options.SpreadTime {
		t.Errorf("while the news spreads a client is turned away: %v", err)
	}
	p.stop() // Within the drain timeout that holds without a configuration, or the test fails.
	if took := time.Since(begin); took < p.options.SpreadTime {
		t.Errorf("it ended after %s, before the news had spread", took)
	}
	if err := commit(); err == nil {
		t.Error("the transaction went on")
	}
}

func TestAPodDrainsForNoLongerThanItWasEverTold(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 5, p.configDraining(cfg, 0))
	p.runs(1, 5)
	p.grant(2, 5, p.configDraining(cfg, 86400))
	p.runs(2, 5)
	p.kill()
	p.start() // Neither does a new container.
	eventually(t, "it is ready", p.ready)
	_, _ = p.transaction()
	p.stop()
}
