// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// longestForGap is how long a change waits for a moment without logins. Where
	// there is none it is made all the same.
	longestForGap = 3 * time.Second
	// longestStill is how much of that is spent at a stretch.
	longestStill = time.Second
	// quickTime is how long logins are tried again after quickRetry, once PgBouncer
	// was told something that aborts those it had in flight.
	quickTime  = 2 * time.Second
	quickRetry = 100 * time.Millisecond
)

// upheaval is a change that makes PgBouncer close its server connections. It aborts
// logins in flight, and PgBouncer takes that for a server that refuses: where it has
// no other connection for the database it turns clients away.
type upheaval struct {
	// since is when the change was first wanted; zero is none.
	since time.Time
	// last is when PgBouncer was last told such a thing.
	last time.Time
	// reconnects are when it is to replace all server connections.
	reconnects []time.Time
	// frozen says that its limits may be lower than those that are to be in force.
	frozen bool
}

// quicken is the interval between logins in place of the one that refusals ask for
// (0 is none): those that have no room are not to come quicker.
func (u upheaval) quicken(interval time.Duration, now time.Time) time.Duration {
	if interval == 0 && now.Sub(u.last) < quickTime {
		return quickRetry
	}
	return interval
}

// dirties says that PgBouncer takes the databases of after for others than those of
// before, and so closes their connections. A password alone does not do so. Source:
// PgBouncer's loader.c (parse_database) and sbuf.c (sbuf_tls_setup).
func dirties(before, after pgbouncer.Config) bool {
	was, is := before.Server, after.Server
	was.Password, is.Password = "", ""
	was.Incarnation, is.Incarnation = "", ""
	if was != is || before.ConnectQuery != after.ConnectQuery {
		return true
	}
	return slices.ContainsFunc(after.Databases, func(db pgbouncer.Database) bool {
		return slices.ContainsFunc(before.Databases, func(old pgbouncer.Database) bool {
			return old.Name == db.Name && old.Database != db.Database
		})
	})
}

// reloadTo makes PgBouncer read the files of want. Where they close its connections
// that is done when no login is in flight; done is false where it has to be tried again.
func (s *Supervisor) reloadTo(ctx context.Context, want order, limits pgbouncer.Limits) (done bool, err error) {
	if s.running.doc != nil && moved(s.running.doc.PgBouncer.Server, want.doc.PgBouncer.Server) {
		s.upheaval.reconnects = reconnects(time.Now(), want.doc.PgBouncer)
	}
	if s.running.doc == nil || !dirties(s.running.doc.PgBouncer, want.doc.PgBouncer) {
		s.upheaval.since = time.Time{}
		return true, s.reload(ctx)
	}
	now := time.Now()
	if s.upheaval.since.IsZero() {
		s.upheaval.since = now
	}
	if now.Sub(s.upheaval.since) < longestForGap {
		if still, err := s.still(ctx); err != nil || !still {
			return false, err
		}
		if err := s.write(pgbouncer.Rendering{Config: want.doc.PgBouncer, Limits: limits}); err != nil {
			return false, err
		}
	}
	s.upheaval.since, s.upheaval.last = time.Time{}, time.Now()
	return true, s.reload(ctx)
}

// still lets no login begin until PgBouncer reads its files again, and waits until none
// is in flight: every limit is 1 until then, so a database that has a connection opens
// no other. Those that it has stay in use. Where still is false it is as it was.
func (s *Supervisor) still(ctx context.Context) (still bool, err error) {
	ones := pgbouncer.Limits{}
	for name := range s.running.limits {
		ones[name] = 1
	}
	if err := s.write(pgbouncer.Rendering{Config: s.running.doc.PgBouncer, Limits: ones}); err != nil {
		return false, err
	}
	if err = s.reload(ctx); err == nil {
		still, err = s.admin.AwaitNoLogins(ctx, longestStill)
	}
	s.upheaval.frozen = true
	if !still {
		err = errors.Join(err, s.rewrite(ctx))
	}
	return still, err
}

// reconnect has the connections of a database replaced as they are released, or of all
// where it is empty. A login in flight is aborted only in spite.
func (s *Supervisor) reconnect(ctx context.Context, database string, inSpite bool) (done bool, err error) {
	if !inSpite {
		if still, err := s.still(ctx); err != nil || !still {
			return false, err
		}
	}
	if err = s.admin.Reconnect(ctx, database); err == nil {
		s.upheaval.last = time.Now()
	}
	return err == nil, errors.Join(err, s.rewrite(ctx))
}
