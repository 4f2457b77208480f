// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"strconv"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// reviveFor is how long PgBouncer is asked for a login at a stretch, which is longer
	// than the longest time between two; reviveRest is how long it is left alone then.
	reviveFor  = longestRetry + dueWithin
	reviveRest = time.Minute
)

// revival has PgBouncer log in after a login that failed. It turns away whoever comes
// while its last login has failed and it has no connection, however long ago that was:
// a pool that was once refused a connection beside others, and has closed those since
// for being idle, would fail the next that come though the server is well. Only a login
// that succeeds ends that, and PgBouncer tries none by itself unless min_pool_size says
// so. Source: PgBouncer's objects.c (check_fast_fail, disconnect_server), janitor.c
// (check_pool_size).
type revival struct {
	// seen are the failures known of, had is what there was then; due says that no login
	// is known to have succeeded since.
	seen int64
	had  logins
	due  bool
	// on says that PgBouncer is asked, turn is when that changes.
	on   bool
	turn time.Time
}

// revive looks whether a login has to be asked for, and asks.
func (s *Supervisor) revive(ctx context.Context) error {
	v, failed, now := &s.revival, s.relay.failures(), time.Now()
	if failed == v.seen && !v.due || !s.mayRevive() {
		return nil
	}
	have, err := s.logins(ctx)
	switch {
	case err != nil:
		return err
	case failed > v.seen:
		v.seen, v.had, v.due = failed, have, true
	case have.newest > v.had.newest:
		v.due, v.turn = false, time.Time{}
		return s.ask(ctx, 0)
	}
	if now.Before(v.turn) {
		return nil
	}
	if v.on {
		v.turn = now.Add(reviveRest)
		return s.ask(ctx, 0)
	}
	v.turn = now.Add(reviveFor)
	return s.ask(ctx, 1+most(*s.sample))
}

// mayRevive says that PgBouncer serves, and that it is not known that no login works.
func (s *Supervisor) mayRevive() bool {
	return s.process != nil && s.sample != nil && !s.sample.Paused && s.running.doc != nil && s.leaving == nil && !s.passwords.wrong
}

// ask has PgBouncer keep so many connections in each pool, as far as its limit allows.
func (s *Supervisor) ask(ctx context.Context, connections int32) error {
	err := s.admin.Set(ctx, "min_pool_size", strconv.Itoa(int(connections)))
	if err == nil {
		s.revival.on = connections > 0
	}
	return err
}

// most is what the pool has that has the most.
func most(sample pgbouncer.Sample) (connections int32) {
	for _, pool := range sample.Pools {
		connections = max(connections, pool.ServersActive+pool.ServersIdle+pool.ServersUsed)
	}
	return connections
}
