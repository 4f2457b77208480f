// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// stages of client_idle_timeout after PgBouncer was told to end when its clients have
// left: it does not nudge them by itself. Each begins after its part of the drain. The
// first closes what pools check before they use it again, as a rule after a second
// without use. The others go from long to short, as none should be shorter than what
// a client takes between its check and its query: the connection could be closed in
// between, which no check can see. Such a query fails, but is not run. PgBouncer looks
// three times a second, so who is hardly ever idle is found so late, or never.
var stages = []struct {
	after   float64
	seconds string
}{
	{0, "2"}, {1. / 12, "0.5"}, {2. / 12, "0.1"}, {4. / 12, "0.05"}, {6. / 12, "0.02"}, {8. / 12, "0.01"}, {10. / 12, "0.005"},
}

// recent is how far the connections in use are looked back on before what nobody used
// is given back.
const recent = 3 * time.Second

// departure is PgBouncer's way out: the news spreads, then clients have until the
// deadline to leave.
type departure struct {
	since, deadline time.Time
	spread          time.Duration
	// told is set once PgBouncer was signalled; there is no way back then.
	told   bool
	toldAt time.Time
	idle   string
	quit   bool
	looked time.Time
	uses   []use
	// door is where cancel requests arrive; nil before PgBouncer has closed its own.
	door net.Listener
}

// use is how many connections of each database were wanted at a moment.
type use struct {
	at   time.Time
	busy pgbouncer.Limits
}

func newDeparture(spread, timeout time.Duration) *departure {
	now := time.Now()
	return &departure{since: now, deadline: now.Add(max(spread, timeout)), spread: spread}
}

// stage is the client_idle_timeout of a moment.
func (d *departure) stage(now time.Time) (seconds string) {
	gone, all := now.Sub(d.toldAt), d.deadline.Sub(d.toldAt)
	for _, stage := range stages {
		if gone.Seconds() >= stage.after*all.Seconds() {
			seconds = stage.seconds
		}
	}
	return seconds
}

// drainTimeout is the shortest of those this pod was ever told: its grace period is
// that of the day it was made, and it must end before.
func (s *Supervisor) drainTimeout() time.Duration {
	if s.mem.DrainSeconds == nil {
		return s.DrainTimeout
	}
	return time.Duration(*s.mem.DrainSeconds) * time.Second
}

// drain lets PgBouncer's clients leave, bounded by drainTimeout, and ends it.
func (s *Supervisor) drain(ctx context.Context, ticks <-chan time.Time) error {
	if s.process == nil {
		return nil // Nothing is given back that the grant could not take again.
	}
	s.Log.Info("draining", "timeout", s.drainTimeout().String())
	s.view.drain()
	if s.leaving == nil {
		s.leaving = newDeparture(s.SpreadTime, s.drainTimeout())
	}
	defer s.leaving.leave()
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
	case now.After(d.deadline.Add(2 * time.Second)):
		return s.process.signal(os.Kill)
	case !now.Before(d.deadline):
		if d.quit {
			return nil
		}
		d.told, d.quit = true, true
		return s.process.signal(syscall.SIGQUIT)
	case s.sample != nil && s.sample.Paused && !s.pauseLasts():
		return s.admin.ResumeAll(ctx)
	case !d.told:
		s.sentry.Leave(ctx) // PgBouncer would wait for it.
		d.told, d.toldAt = true, now
		return s.process.signal(syscall.SIGTERM)
	default:
		return errors.Join(s.standIn(ctx), s.nudge(ctx, now))
	}
}

// pauseLasts says that no query may run. The files of a pod that ends are not
// refreshed, so it does not learn that a pause is over, and who waits for a server is
// cut at the deadline: better than a query in the midst of a switchover.
func (s *Supervisor) pauseLasts() bool {
	doc := cmp.Or(s.in.doc, s.running.doc)
	return doc != nil && doc.PgBouncer.Paused
}

// nudge shortens client_idle_timeout by stages and gives back connections that the
// remaining clients do not use.
func (s *Supervisor) nudge(ctx context.Context, now time.Time) error {
	d := s.leaving
	if s.running.doc == nil || s.sample == nil {
		return nil
	}
	d.note(*s.sample, now)
	if now.Sub(d.looked) < time.Second {
		return nil
	}
	d.looked = now
	idle, limits := d.stage(now), d.needed(s.running.limits)
	if idle == d.idle && maps.Equal(limits, s.running.limits) {
		return nil
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

func (d *departure) note(sample pgbouncer.Sample, now time.Time) {
	busy := pgbouncer.Limits{}
	for _, pool := range sample.Pools {
		busy[pool.Database] += pool.ServersActive
		if !sample.Paused {
			busy[pool.Database] += pool.ClientsWaiting
		}
	}
	d.uses = append(d.uses, use{now, busy})
	for now.Sub(d.uses[0].at) > recent {
		d.uses = d.uses[1:]
	}
}

// needed are the limits that those clients need who are still there. Limits only
// sink, and to no less than 1.
func (d *departure) needed(inForce pgbouncer.Limits) pgbouncer.Limits {
	limits := pgbouncer.Limits{}
	for name, limit := range inForce {
		var most int32 = 1
		for _, use := range d.uses {
			most = max(most, use.busy[name])
		}
		limits[name] = min(limit, most)
	}
	return limits
}

// release notes what is given back before anyone can be told: should only the
// container end and start again, its grant is the smaller one until a newer comes.
func (s *Supervisor) release(limits pgbouncer.Limits) error {
	gen, share := s.mem.Applied.Gen, limits.Sum()
	if s.mem.Released.Gen == gen && s.mem.Released.Share <= share || s.running.limits.Sum() <= share {
		return nil
	}
	return s.jot(func(m *memory) { m.Released = release{Gen: gen, Share: share} })
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
