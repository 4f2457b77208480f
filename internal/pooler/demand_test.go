// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// starvedFor is the highest Starved, and the lowest Waiting, over a time.
func (p *pod) starvedFor(d time.Duration) (starved, waiting int32) {
	p.t.Helper()
	waiting = 1 << 30
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s, ok := p.status(); ok {
			starved, waiting = max(starved, s.Starved), min(waiting, s.Waiting)
		}
	}
	return starved, waiting
}

func TestClientsThatWaitForAHigherLimitAreStarved(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgbouncer.PoolMode{pgbouncer.ModeTransaction, pgbouncer.ModeSession} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := aPod(t).start()
			cfg := aConfig(aServer(t))
			cfg.Mode = mode
			revision := p.config(cfg)
			p.grant(1, 2, revision)
			p.runs(1, 2)
			clients := p.load(20, "select pg_sleep(0.2)", "shop")
			s := p.await("they are starved", func(s contract.Status) bool { return s.Starved >= 17 })
			if s.Starved > 18 || s.Peak != 2 {
				t.Errorf("status is %+v, want 18 starved and a peak of 2", s)
			}
			p.grant(2, 20, revision)
			p.await("all are served", func(s contract.Status) bool { return s.Peak == 20 && s.Starved == 0 })
			if starved, _ := p.starvedFor(time.Second); starved > 0 {
				t.Errorf("%d are starved, and all are served", starved)
			}
			clients.end(t)
		})
	}
}

func TestClientsThatWaitForAnythingElseAreNotStarved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"the server is stopped", "the database is paused"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aServer(t)
			p := aPod(t).start()
			p.grant(1, 2, p.config(aConfig(server)))
			p.runs(1, 2)
			clients := p.load(20, "select pg_sleep(0.2)", "shop")
			p.await("they are starved", func(s contract.Status) bool { return s.Starved >= 17 })
			if name == "the server is stopped" {
				server.Stop(t)
			} else if err := p.console().Pause(t.Context(), "shop"); err != nil {
				t.Fatal(err)
			}
			starved, waiting := p.starvedFor(3 * time.Second)
			if starved > 0 || waiting == 0 {
				t.Errorf("up to %d are starved, at least %d wait", starved, waiting)
			}
			clients.stop()
			p.kill()
			clients.clients.Wait()
		})
	}
}

func TestAShortBurstStarvesNobody(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 2, p.config(aConfig(server)))
	p.runs(1, 2)
	var burst sync.WaitGroup
	for range 20 {
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		burst.Go(func() {
			if _, err := conn.Exec(context.Background(), "select pg_sleep(0.01)"); err != nil {
				t.Error(err)
			}
		})
	}
	if starved, _ := p.starvedFor(1500 * time.Millisecond); starved > 0 {
		t.Errorf("%d are starved", starved)
	}
	burst.Wait()
}
