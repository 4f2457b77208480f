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
	// firstRetry is the time to the next login after a first refusal, where the pool does
	// not set it. Whoever was one too
	// many is mostly gone by then; a pooler whose clients keep vanishing would run out of
	// server connections if it took much longer.
	firstRetry = 200 * time.Millisecond
	// longestRetry bounds the time between two logins that the server refuses for
	// want of room, as does half of the time that a client waits for a connection.
	longestRetry = 15 * time.Second
	// longestWithout bounds it for a pooler that has no server connection at all:
	// PgBouncer turns new clients away then for as long as its last login failed.
	longestWithout = 4 * time.Second
	// dueWithin is how late a try may be that somebody waits for.
	dueWithin = 2 * time.Second
	// roomNews is how often at most the log says that there is no room.
	roomNews = 30 * time.Second
)

// retries spaces logins while the server refuses them because it has no room. It
// goes by PgBouncer's setting, so it ends with the next RELOAD, and PgBouncer
// compares the setting with the time of its last failure at every look: when it is
// lowered, clients that wait make it try at once.
type retries struct {
	// refused are the refusals answered so far, last is when the last of them was.
	refused int64
	last    time.Time
	// interval is what server_login_retry should be, inForce what it is; 0 is the file's.
	interval, inForce time.Duration
	// had is what there was when last refused.
	had logins
	// told is when the log last said that there is no room, bad that it said nothing since.
	told time.Time
	bad  bool
}

// logins are the server connections that can be used.
type logins struct {
	count int
	// newest is the highest ID.
	newest int64
}

// slower answers a refusal. A login that succeeded since the one before starts over.
func (r *retries) slower(refused int64, have logins, now time.Time, cfg pgbouncer.Config) {
	base, longest := firstRetry, longestRetry
	if cfg.Parameters[pgbouncer.LoginRetrySetting] != "" {
		base = cfg.LoginRetry()
	}
	if wait := cfg.QueryWait(); wait > 0 {
		longest = min(longest, wait/2)
	}
	if have.count == 0 {
		longest = min(longest, longestWithout)
	}
	if have.newest > r.had.newest {
		r.interval = 0
	}
	r.refused, r.had, r.last = refused, have, now
	r.interval = min(max(2*r.interval, base), max(longest, base))
}

// over says that logins need not be held back any more: one has succeeded, or one
// of ours is gone and its room may be free, or the server is. And a try that was
// due and was not refused is one that nobody asked for, or that failed for another
// reason, which must not be held back by this.
func (r *retries) over(have logins, now time.Time) bool {
	return have.newest > r.had.newest || have.count < r.had.count || now.Sub(r.last) > r.interval+dueWithin
}

// pace doubles the interval with every refusal after the first, and forgets it when
// that is over.
func (s *Supervisor) pace(ctx context.Context) error {
	r, refused := &s.retries, s.relay.refusals()
	if s.process == nil || s.sample == nil || s.running.doc == nil {
		return nil
	}
	if acted, err := s.endure(ctx); acted || err != nil {
		return err
	}
	if err := s.part(ctx); err != nil {
		return err
	}
	if refused > r.refused || r.interval > 0 {
		have, err := s.logins(ctx)
		now := time.Now()
		switch {
		case err != nil:
			return err
		case refused > r.refused:
			r.slower(refused, have, now, s.running.doc.PgBouncer)
		case r.over(have, now):
			r.interval = 0
		}
	}
	s.tellRoom(time.Now())
	return s.retryAfter(ctx, s.upheaval.quicken(r.interval, time.Now()))
}

func (s *Supervisor) retryAfter(ctx context.Context, interval time.Duration) error {
	if interval == s.retries.inForce {
		return nil
	}
	seconds := s.running.doc.PgBouncer.LoginRetry().Seconds()
	if interval > 0 {
		seconds = interval.Seconds()
	}
	err := s.admin.Set(ctx, pgbouncer.LoginRetrySetting, strconv.FormatFloat(seconds, 'f', -1, 64))
	if err == nil {
		s.retries.inForce = interval
	}
	return err
}

func (s *Supervisor) tellRoom(now time.Time) {
	r := &s.retries
	switch {
	case r.interval > 0 && now.Sub(r.told) >= roomNews:
		r.told, r.bad = now, true
		s.Log.Warn("the server has no room for another connection", "refused", r.refused, "nextTry", r.interval.String())
	case r.interval == 0 && r.bad:
		r.bad = false
		s.Log.Info("logins are no longer held back", "refused", r.refused)
	}
}

func (s *Supervisor) logins(ctx context.Context) (logins, error) {
	servers, err := s.admin.Servers(ctx)
	return loginsOf(servers), err
}

func loginsOf(servers []pgbouncer.ServerState) (have logins) {
	for _, server := range servers {
		if !server.Login {
			have.count++
			have.newest = max(have.newest, server.ID)
		}
	}
	return have
}
