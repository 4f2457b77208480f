// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// reconnectAfter is how long a lowered limit gets to be met by closing idle
// connections, which PgBouncer does three times a second, before all of the
// database's are closed as they are released. Where none is idle that is at once.
const reconnectAfter = 600 * time.Millisecond

// shrink is a lowering of limits under way. RELOAD alone does not make a busy
// PgBouncer let go. It lasts as long as the transactions do that it waits for:
// they are cut by nobody, and nothing else waits for them.
type shrink struct {
	since time.Time
	// left are the databases that have not been told to RECONNECT; nil is no shrink.
	left pgbouncer.Limits
}

func lowers(before, after pgbouncer.Limits) bool {
	for name, limit := range before {
		if after[name] < limit {
			return true
		}
	}
	return false
}

// above is how many connections each database has above its limit.
func above(sample pgbouncer.Sample) map[string]int32 {
	over := map[string]int32{}
	for _, db := range sample.Databases {
		if more := db.CurrentConnections - db.MaxConnections; more > 0 {
			over[db.Name] = more
		}
	}
	return over
}

// settle ends a shrink that is done, and helps every database that is above its
// limit with one RECONNECT. A RECONNECT that meets a login aborts it, so it waits
// until there is none; above the limit none begins.
func (s *Supervisor) settle(ctx context.Context) error {
	if s.shrink.left == nil {
		return nil
	}
	over := above(*s.sample)
	if len(over) == 0 {
		s.shrink = shrink{}
		return nil
	}
	logins, idle := map[string]int32{}, map[string]int32{}
	for _, pool := range s.sample.Pools {
		logins[pool.Database] += pool.InLogin
		idle[pool.Database] += pool.ServersIdle + pool.ServersUsed
	}
	if s.passwords.wrong {
		return nil // None that is closed could be had again.
	}
	early := time.Since(s.shrink.since) < reconnectAfter
	for name := range over {
		if _, due := s.shrink.left[name]; !due || logins[name] > 0 || early && idle[name] > 0 {
			continue
		}
		ran, err := s.admin.ReconnectBetweenLogins(ctx, name)
		if ran {
			delete(s.shrink.left, name)
			s.upheaval.last = time.Now()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lettingGo names what a shrink waits for; nil without one.
func (s *Supervisor) lettingGo(ctx context.Context) *contract.LettingGo {
	over := above(*s.sample)
	if s.shrink.left == nil || len(over) == 0 {
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
