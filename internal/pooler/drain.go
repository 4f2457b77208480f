// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"maps"
	"os"
	"syscall"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// stages of client_idle_timeout after PgBouncer was told to end when its clients
// have left: it does not nudge them by itself. The first is for clients that leave
// by themselves before long. The others are far below the pauses of most clients:
// a limit near a client's pause would close its connection just when it wants to
// use it, which no check before use can see. Such a query fails, but is not run.
var stages = []struct {
	after   time.Duration
	seconds string
}{
	{0, "1"}, {5 * time.Second, "0.005"}, {15 * time.Second, "0.001"},
}

// departure is PgBouncer's way out.
type departure struct {
	since, deadline time.Time
	spread          time.Duration
	// told is set once PgBouncer was signalled; there is no way back then.
	told   bool
	toldAt time.Time
	idle   string
	quit   bool
	looked time.Time
}

func newDeparture(spread, timeout time.Duration) *departure {
	now := time.Now()
	return &departure{since: now, deadline: now.Add(timeout), spread: min(spread, timeout/2)}
}

// drain lets PgBouncer's clients leave, bounded by the DrainTimeout, and ends it.
func (s *Supervisor) drain(ctx context.Context, ticks <-chan time.Time) error {
	if s.process == nil {
		return nil // Nothing is given back that the grant could not take again.
	}
	s.Log.Info("draining", "timeout", s.DrainTimeout.String())
	s.view.drain()
	if s.leaving == nil {
		s.leaving = newDeparture(s.SpreadTime, s.DrainTimeout)
	}
	for s.process != nil && !s.process.ended() {
		s.view.beat()
		s.observe(ctx)
		if err := s.depart(ctx); err != nil {
			s.Log.Warn("draining goes on", "problem", s.safe(err))
		}
		s.evict(ctx)
		s.tell()
		select {
		case <-s.process.exited:
		case <-ticks:
		}
	}
	s.Log.Info("drained")
	return nil
}

// depart takes PgBouncer one step further out.
func (s *Supervisor) depart(ctx context.Context) error {
	d, now := s.leaving, time.Now()
	switch {
	case now.Before(d.since.Add(d.spread)):
		return nil
	case !d.told && s.sample != nil && s.sample.Paused:
		// The files of a pod that ends are not refreshed, so it would not learn that the
		// pause is over: those who wait could only be cut.
		return s.admin.ResumeAll(ctx)
	case !d.told:
		d.told, d.toldAt = true, now
		return s.process.signal(syscall.SIGTERM)
	case now.After(d.deadline.Add(2 * time.Second)):
		return s.process.signal(os.Kill)
	case now.After(d.deadline):
		if d.quit {
			return nil
		}
		d.quit = true
		return s.process.signal(syscall.SIGQUIT)
	default:
		return s.nudge(ctx, now)
	}
}

// nudge shortens client_idle_timeout by stages and gives back connections that the
// remaining clients do not use.
func (s *Supervisor) nudge(ctx context.Context, now time.Time) error {
	d := s.leaving
	if s.running.doc == nil || now.Sub(d.looked) < time.Second {
		return nil
	}
	d.looked = now
	idle := ""
	for _, stage := range stages {
		if now.Sub(d.toldAt) >= stage.after {
			idle = stage.seconds
		}
	}
	limits, err := s.needed(ctx)
	if err != nil || idle == d.idle && maps.Equal(limits, s.running.limits) {
		return s.unlessEnded(err)
	}
	if err := s.release(limits); err != nil {
		return err
	}
	if err := s.write(pgbouncer.Rendering{Config: s.running.doc.PgBouncer, Limits: limits, ClientIdleTimeout: idle}); err != nil {
		return err
	}
	if err := s.reload(ctx); err != nil {
		return s.unlessEnded(err)
	}
	d.idle, s.running.limits = idle, limits
	return nil
}

// needed are the limits that those clients need who are still there. Limits only
// sink, and to no less than 1.
func (s *Supervisor) needed(ctx context.Context) (pgbouncer.Limits, error) {
	pools, err := s.admin.Pools(ctx)
	if err != nil {
		return nil, err
	}
	busy := pgbouncer.Limits{}
	for _, pool := range pools {
		busy[pool.Database] += pool.ServersActive + pool.ClientsWaiting
	}
	limits := pgbouncer.Limits{}
	for name, limit := range s.running.limits {
		limits[name] = min(limit, max(1, busy[name]))
	}
	return limits, nil
}

// release notes what is given back before anyone can be told: should only the
// container end and start again, its grant is the smaller one until a newer comes.
func (s *Supervisor) release(limits pgbouncer.Limits) error {
	gen, share := s.mem.Applied.Gen, limits.Sum()
	if s.mem.Released.Gen == gen && s.mem.Released.Share <= share || s.running.limits.Sum() <= share {
		return nil
	}
	s.mem.Released = release{Gen: gen, Share: share}
	return s.mem.save(s.RunDir)
}

// unlessEnded drops an error of asking a PgBouncer that has ended.
func (s *Supervisor) unlessEnded(err error) error {
	select {
	case <-s.process.exited:
		return nil
	case <-time.After(100 * time.Millisecond):
		return err
	}
}
