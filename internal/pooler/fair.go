// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// starvesAfter is how long clients of a role wait for their first connection before
	// others have to give some up.
	starvesAfter = time.Second
	// partedFor is how long after that a role may not have all of them again.
	partedFor = 10 * time.Second
)

// fairness is for roles that share a database's limit. PgBouncer gives a connection
// that is released to who waits in the same role, so one role that is always busy
// keeps all. It serves no more roles at once than the limit allows. Source: PgBouncer's
// objects.c (reuse_on_release, evict_connection).
type fairness struct {
	// limits are the most that each role may have of a database's limit; a database
	// that is not there has none.
	limits pgbouncer.Limits
	// starved is when one had nothing last.
	starved time.Time
	// hungry is since when roles have had clients waiting and no connection. PgBouncer's
	// maxwait leaves out those who wait to be looked up.
	hungry map[role]time.Time
	// left are the databases whose roles have not been made to give up any.
	left map[string]bool
}

type role struct{ database, user string }

// part parts a database's limit among its busy roles while one of them has nothing.
func (s *Supervisor) part(ctx context.Context) error {
	f, now := &s.fairness, time.Now()
	if s.running.doc.PgBouncer.Lookup.User == "" {
		return nil
	}
	want := maps.Clone(f.limits)
	f.hungry = hungry(*s.sample, f.hungry, now)
	parts := f.parts(*s.sample, s.running.limits, now)
	switch {
	case len(parts) > 0:
		f.starved = now
		if want == nil {
			want = pgbouncer.Limits{}
		}
	case now.Sub(f.starved) > partedFor:
		want = nil
	}
	for name, part := range parts {
		if have, ok := want[name]; !ok || part < have {
			want[name], f.left[name] = part, true
		}
	}
	if !maps.Equal(want, f.limits) {
		f.limits = want
		return s.rewrite(ctx)
	}
	return s.giveUp(ctx)
}

// hungry goes on from what it was at the last look.
func hungry(sample pgbouncer.Sample, before map[role]time.Time, now time.Time) map[role]time.Time {
	since := map[role]time.Time{}
	for _, pool := range sample.Pools {
		if pool.ClientsWaiting == 0 || pool.ServersActive+pool.ServersIdle+pool.ServersUsed+pool.InLogin > 0 {
			continue
		}
		r := role{pool.Database, pool.User}
		since[r] = now
		if first, ok := before[r]; ok {
			since[r] = first
		}
	}
	return since
}

// parts is what each busy role may have of the databases in which one has nothing.
func (f fairness) parts(sample pgbouncer.Sample, limits pgbouncer.Limits, now time.Time) pgbouncer.Limits {
	busy := map[string]int32{}
	for _, pool := range sample.Pools {
		if pool.ClientsWaiting+pool.ServersActive > 0 {
			busy[pool.Database]++
		}
	}
	parts := pgbouncer.Limits{}
	for r, since := range f.hungry {
		if limit := limits[r.database]; now.Sub(since) > starvesAfter && busy[r.database] > 1 && limit > 1 {
			parts[r.database] = max(1, limit/busy[r.database])
		}
	}
	return parts
}

// giveUp has the connections replaced as they are released: those that are busy all
// the time would not be closed otherwise.
func (s *Supervisor) giveUp(ctx context.Context) error {
	for name := range s.fairness.left {
		if inLogin(*s.sample, name) {
			continue
		}
		done, err := s.reconnect(ctx, name, false)
		if done {
			delete(s.fairness.left, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func inLogin(sample pgbouncer.Sample, database string) bool {
	return slices.ContainsFunc(sample.Pools, func(pool pgbouncer.PoolState) bool {
		return pool.Database == database && pool.InLogin > 0
	})
}
