// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// reconnectAfter is how long a lowered limit gets to be met by closing idle
// connections, which PgBouncer does three times a second, before all of the
// database's are closed as they are released.
const reconnectAfter = 600 * time.Millisecond

// shrink is a lowering of limits under way. RELOAD alone does not make a busy
// PgBouncer let go.
type shrink struct {
	since time.Time
	// left are the databases that have not been told to RECONNECT.
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

// settle reports whether every database is within its limit, and helps those that
// are not with one RECONNECT each. A RECONNECT that meets a login aborts it, so it
// waits until there is none.
func (s *Supervisor) settle(ctx context.Context) (bool, error) {
	if s.shrink.left == nil {
		return true, nil
	}
	states, err := s.admin.Databases(ctx)
	if err != nil {
		return false, err
	}
	var over []string
	for _, db := range states {
		if db.CurrentConnections > db.MaxConnections {
			over = append(over, db.Name)
		}
	}
	if len(over) == 0 {
		s.shrink = shrink{}
		return true, nil
	}
	if time.Since(s.shrink.since) < reconnectAfter {
		return false, nil
	}
	return false, s.reconnect(ctx, over)
}

func (s *Supervisor) reconnect(ctx context.Context, databases []string) error {
	pools, err := s.admin.Pools(ctx)
	if err != nil {
		return err
	}
	logins := map[string]int32{}
	for _, pool := range pools {
		logins[pool.Database] += pool.InLogin
	}
	for _, name := range databases {
		if _, due := s.shrink.left[name]; !due || logins[name] > 0 {
			continue
		}
		delete(s.shrink.left, name)
		if err := s.admin.Reconnect(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
