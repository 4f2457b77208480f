// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"errors"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// patience lets clients wait for as long as a pause lasts, and then until they have
// been served: to PgBouncer they have waited since the pause began, so the usual
// limit would end those at once that are not among the first.
type patience struct {
	held bool
	// resumed is when the pause ended.
	resumed time.Time
}

// pause makes PgBouncer pause or go on, as the configuration in force asks. It does
// not wait for transactions to end: nothing else waits for them either.
func (s *Supervisor) pause(ctx context.Context) error {
	if s.process == nil || s.sample == nil || s.running.doc == nil {
		return nil
	}
	cfg, p := s.running.doc.PgBouncer, &s.patience
	switch {
	case cfg.Paused && !s.sample.Paused:
		p.held = true
		s.Log.Info("clients are held, as the configuration asks")
		return s.beginPause(ctx)
	case cfg.Paused:
		p.held = true
	case s.hold.on(): // It is for lookOut to end.
		p.resumed = time.Now()
	case s.sample.Paused:
		p.held, p.resumed = true, time.Now()
		s.Log.Info("clients go on, as the configuration asks")
		return s.endPause(ctx)
	case p.held && p.over(*s.sample, cfg, time.Now()):
		return s.hurry(ctx)
	}
	return nil
}

// beginPause aborts no login, if none is slow: after the pause PgBouncer would take that
// for a server that refuses, until a login works.
func (s *Supervisor) beginPause(ctx context.Context) error {
	still, err := s.still(ctx)
	if err != nil {
		return err
	}
	err = s.admin.PauseAll(ctx)
	if still {
		err = errors.Join(err, s.rewrite(ctx))
	}
	return err
}

// endPause goes on when a login works: whoever has paused a pool to change its server
// may be early. Where nobody waits, or each client logs in for itself, that is at once.
func (s *Supervisor) endPause(ctx context.Context) error {
	if !s.oneLogin() {
		return s.admin.ResumeAll(ctx)
	}
	now := time.Now()
	s.hold = hold{since: now, wanted: now.Add(-wantedFor), next: now, seen: s.relay.losses(), had: s.hold.had}
	return nil
}

// over says that nobody waits any more who has waited through the pause, or that
// they have waited as long again since then.
func (p patience) over(sample pgbouncer.Sample, cfg pgbouncer.Config, now time.Time) bool {
	limit := cfg.QueryWait()
	if now.Sub(p.resumed) > limit {
		return true
	}
	for _, pool := range sample.Pools {
		if pool.ClientsWaiting > 0 && pool.MaxWait > limit/2 {
			return false
		}
	}
	return true
}

// hurry puts the usual limits of waiting in force again.
func (s *Supervisor) hurry(ctx context.Context) error {
	s.patience.held = false
	err := s.rewrite(ctx)
	if err != nil {
		s.patience.held = true // Try again.
	}
	return err
}

// isPaused says that no transaction is under way and none can begin.
func isPaused(sample pgbouncer.Sample) bool {
	return sample.Paused && sum(connections(sample)) == 0
}
