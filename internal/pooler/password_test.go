// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const newPassword = "another s3cret"

// A crowd are clients of several poolers: some stay, some connect for each query.
type crowd struct {
	loads []*load
	// gate is locked while no client may ask anything.
	gate sync.RWMutex
}

func aCrowd(t *testing.T, pods ...*pod) *crowd {
	t.Helper()
	c := &crowd{}
	for _, p := range pods {
		l := p.work(5, func(_ int, conn *pgx.Conn) error {
			err := c.ask(conn)
			time.Sleep(10 * time.Millisecond)
			return err
		}, "shop")
		ctx, cancel := context.WithCancel(context.Background())
		stop := l.stop
		l.stop = func() { stop(); cancel() }
		for range 2 {
			l.clients.Go(func() {
				for ctx.Err() == nil {
					l.count(c.visit(p))
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		c.loads = append(c.loads, l)
	}
	return c
}

func (c *crowd) ask(conn *pgx.Conn) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	_, err := conn.Exec(context.Background(), "select pg_sleep(0.01)")
	return err
}

func (c *crowd) visit(p *pod) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	conn, err := p.client("shop")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(context.Background(), "select pg_sleep(0.005)")
	return err
}

// between does something to the server while no query is under way.
func (c *crowd) between(do func()) {
	c.gate.Lock()
	defer c.gate.Unlock()
	do()
}

func (c *crowd) end(t *testing.T) {
	t.Helper()
	for _, l := range c.loads {
		l.end(t)
	}
}

// endConnections ends all of the pools' at the server, and waits until they have
// noticed: a client that asks before may be what they learn it from.
func endConnections(t *testing.T, server *testenv.PostgresServer, pods []*pod) {
	t.Helper()
	const words = "no server connection is left"
	before := map[*pod]int{}
	for _, p := range pods {
		before[p] = strings.Count(p.log.String(), words)
	}
	eventually(t, "none is left, and all have noticed", func() bool {
		server.Exec(t, "do $$ begin perform pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'; end $$")
		return !slices.ContainsFunc(pods, func(p *pod) bool { return strings.Count(p.log.String(), words) == before[p] })
	})
}

func TestClientsWaitWhileThePasswordOfTheDatabaseChanges(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]struct{ serverFirst, lost bool }{
		"at the server first":                                 {true, false},
		"in the configuration first":                          {false, false},
		"at the server first, where all connections end":      {true, true},
		"in the configuration first, and all connections end": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aServer(t)
			pods := []*pod{aPod(t).start(), aPod(t).start()}
			cfg := aConfig(server)
			configure := func(gen int64) {
				for _, p := range pods {
					p.grant(gen, 4, p.config(cfg))
				}
				for _, p := range pods {
					p.runs(gen, 4)
				}
			}
			configure(1)
			clients := aCrowd(t, pods...)
			time.Sleep(aWhile / 2)
			first := func() { server.Exec(t, "alter role app password '"+newPassword+"'") }
			second := func() { cfg.Server.Password = newPassword; configure(2) }
			if !order.serverFirst {
				first, second = second, first
			}
			clients.between(func() {
				first()
				if order.lost {
					endConnections(t, server, pods)
				}
			})
			time.Sleep(aWhile)
			second()
			clients.between(func() { endConnections(t, server, pods) }) // New ones take the new password.
			time.Sleep(aWhile)
			clients.end(t)
			for _, p := range pods {
				if p.starts() != 1 || strings.Contains(p.log.String(), "s3cret") {
					t.Errorf("PgBouncer was started %d times, or a password is in the log", p.starts())
				}
			}
		})
	}
}

func TestClientsWaitWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 4, p.config(aConfig(server)))
	p.runs(1, 4)
	clients := aCrowd(t, p)
	time.Sleep(aWhile / 2)
	clients.between(func() {
		endConnections(t, server, []*pod{p})
		server.Stop(t)
	})
	time.Sleep(aWhile)
	server.Start(t)
	eventually(t, "clients are served again", func() bool { return len(server.Backends(t)) > 2 })
	clients.end(t)
}

func TestAWrongPasswordIsToldToClientsThatHaveWaitedLongEnough(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.Server.Password = "wrong"
	cfg.Parameters = map[string]string{"query_wait_timeout": "2"}
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	eventually(t, "a client hears it", func() bool {
		_, err := p.client("shop")
		return err != nil && strings.Contains(err.Error(), "password authentication failed")
	})
	p.await("it is not held for ever", func(s contract.Status) bool { return !s.Paused })
	cfg.Server.Password = serverPassword
	p.grant(2, 4, p.config(cfg))
	p.runs(2, 4)
	eventually(t, "with the right one it is served", func() bool { _, err := p.client("shop"); return err == nil })
}

func TestAServerThatEndsIdleConnectionsIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 4, p.config(aConfig(server)))
	p.runs(1, 4)
	conn, err := p.client("shop")
	if err == nil {
		_, err = conn.Exec(t.Context(), "select 1")
	}
	if err != nil {
		t.Fatal(err)
	}
	endConnections(t, server, []*pod{p})
	logins := func() string {
		return server.Ask(t, "select sessions from pg_stat_database where datname = 'shop'")
	}
	eventually(t, "nobody is held any more", func() bool {
		sample, err := p.console().Sample(t.Context())
		return err == nil && !sample.Paused
	})
	before := logins()
	time.Sleep(aWhile / 2)
	if after := logins(); after != before {
		t.Errorf("%s logins became %s though nobody asked for any", before, after)
	}
	if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
		t.Errorf("a client that comes back: %v", err)
	}
}
