// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// shedAfter is how long a lowered limit gets to be met by closing idle connections,
	// which PgBouncer does three times a second, before those that are released are
	// closed, too. Where none is idle that is at once.
	shedAfter = 600 * time.Millisecond
	// shedLook is how long they are closed at a stretch, shedPause how long not where
	// that was in vain: all are in use, by transactions that go on.
	shedLook  = 200 * time.Millisecond
	shedPause = time.Second
)

// shrink is a lowering of limits under way. RELOAD alone does not make a busy
// PgBouncer let go: it gives each connection that is released to the next client. It
// lasts as long as the transactions do that it waits for: they are cut by nobody, and
// nothing else waits for them.
type shrink struct {
	since time.Time
	// of are the databases whose limits were lowered; nil is no shrink.
	of map[string]bool
	// next is when to close some again; unusual that PgBouncer's lifetime of connections
	// may not be the usual one.
	next    time.Time
	unusual bool
}

// lowered are the databases that have a lower limit after than before.
func lowered(before, after pgbouncer.Limits) map[string]bool {
	names := map[string]bool{}
	for name, limit := range before {
		if after[name] < limit {
			names[name] = true
		}
	}
	return names
}

// lower notes that these limits are about to be in force.
func (s *Supervisor) lower(limits pgbouncer.Limits) {
	of := lowered(s.running.limits, limits)
	if len(of) == 0 {
		return
	}
	maps.Copy(of, s.shrink.of)
	s.shrink.since, s.shrink.of, s.shrink.next = time.Now(), of, time.Time{}
}

// above is how many connections each database has above its limit.
func above(databases []pgbouncer.DatabaseState) map[string]int32 {
	over := map[string]int32{}
	for _, db := range databases {
		if more := db.CurrentConnections - db.MaxConnections; more > 0 {
			over[db.Name] = more
		}
	}
	return over
}

// settle ends a shrink that is done. Databases that are above their limits close
// connections one after the other: one that closed all of them would have to log in
// anew, and who else finds room meanwhile takes it.
func (s *Supervisor) settle(ctx context.Context) error {
	if s.shrink.of == nil {
		return nil
	}
	over := above(s.sample.Databases)
	switch {
	case len(over) == 0 && s.shrink.unusual:
		return s.shed(ctx, 0)
	case len(over) == 0:
		s.shrink = shrink{}
		return nil
	case s.passwords.wrong: // None that is closed could be had again.
		return nil
	case time.Now().Before(s.shrink.next), time.Since(s.shrink.since) < shedAfter && hasIdle(*s.sample, over):
		return nil
	}
	return s.shed(ctx, shedLook)
}

// shed closes what is above the limits, as far as it is released in time.
func (s *Supervisor) shed(ctx context.Context, look time.Duration) error {
	before, after := sum(above(s.sample.Databases)), int32(0)
	s.shrink.unusual = true
	err := s.admin.Shed(ctx, s.running.doc.PgBouncer.ServerLifetime(), look, func(databases []pgbouncer.DatabaseState) bool {
		after = sum(above(databases))
		return after == 0
	})
	s.shrink.unusual = err != nil
	if after == before {
		s.shrink.next = time.Now().Add(shedPause)
	}
	return err
}

// hasIdle says that one of the databases has a connection that nobody uses.
func hasIdle(sample pgbouncer.Sample, databases map[string]int32) bool {
	return slices.ContainsFunc(sample.Pools, func(pool pgbouncer.PoolState) bool {
		return databases[pool.Database] > 0 && pool.ServersIdle+pool.ServersUsed > 0
	})
}

// lettingGo names what a shrink waits for; nil without one.
func (s *Supervisor) lettingGo(ctx context.Context) *contract.LettingGo {
	over := above(s.sample.Databases)
	if s.shrink.of == nil || len(over) == 0 {
		return nil
	}
	letting := &contract.LettingGo{Connections: sum(over)}
	servers, err := s.admin.Servers(ctx)
	if err != nil {
		return letting
	}
	for _, server := range servers {
		since := server.RequestTime.Unix()
		if server.Active && over[server.Database] > 0 && (letting.Since == 0 || since < letting.Since) {
			letting.PID, letting.Since = server.RemotePID, since
		}
	}
	return letting
}

func sum(counts map[string]int32) (sum int32) {
	for _, count := range counts {
		sum += count
	}
	return sum
}
