// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// launchTimeout is how long a starting PgBouncer may take to answer.
const launchTimeout = 15 * time.Second

// orphanTime is how long connections may take to end whose PgBouncer has ended.
// PostgreSQL looks for a client that is gone every 0.1 s while a query runs, as the
// connect query asks it to (client_connection_check_interval, from PostgreSQL 14
// on). A PgBouncer started sooner would have its whole share beside them.
const orphanTime = 500 * time.Millisecond

// backOff spaces the starts of a PgBouncer that keeps ending.
type backOff struct {
	delay time.Duration
	until time.Time
	why   error
}

// failed notes an end. One that ran for a minute has earned a fresh start.
func (b *backOff) failed(started time.Time, why error) {
	if time.Since(started) > time.Minute {
		b.delay = 0
	}
	b.delay = min(max(2*b.delay, 100*time.Millisecond), 10*time.Second)
	b.until, b.why = time.Now().Add(b.delay), why
}

// wait puts off the next start.
func (b *backOff) wait(delay time.Duration, why error) {
	if until := time.Now().Add(delay); until.After(b.until) {
		b.until, b.why = until, why
	}
}

// launch starts PgBouncer and waits until it answers.
func (s *Supervisor) launch(ctx context.Context, want order) error {
	if time.Now().Before(s.backOff.until) {
		return s.backOff.why
	}
	if err := s.write(pgbouncer.Rendering{Config: want.doc.PgBouncer, Limits: want.limits}); err != nil {
		return s.refuse(want, err)
	}
	s.relay.forget()
	process, err := start(s.Command(s.PgBouncer, s.Options.paths().Ini()), s.relay.line)
	if err != nil {
		s.backOff.failed(time.Now(), err)
		return err
	}
	s.process = process
	s.tally.starts++
	s.view.started()
	if err := s.awaitConsole(ctx, want.doc.PgBouncer.Paused); err != nil {
		return s.failLaunch(want, err)
	}
	s.sweep()
	s.Log.Info("PgBouncer runs", "pid", process.cmd.Process.Pid)
	s.hold, s.fairness = hold{seen: s.relay.losses()}, fairness{left: map[string]bool{}}
	s.revival = revival{seen: s.relay.failures()}
	s.passwords.replaced(nil, want.doc, s.relay.wrongPasswords())
	s.running = applied{doc: want.doc, limits: want.limits}
	return s.confirm(ctx, want)
}

// awaitConsole returns an error when PgBouncer ends, or does not answer in time. Where
// it is to be paused that is the first thing it hears.
func (s *Supervisor) awaitConsole(ctx context.Context, paused bool) error {
	deadline := time.After(launchTimeout)
	greet := func(ctx context.Context) error { _, err := s.admin.Version(ctx); return err }
	if paused {
		greet = s.admin.PauseAll
	}
	for {
		if greet(ctx) == nil {
			s.view.answered()
			return nil
		}
		select {
		case <-s.process.exited:
			return errors.New("PgBouncer does not start: " + s.relay.words())
		case <-deadline:
			return errNoAnswer
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// failLaunch takes a PgBouncer that ends at once for a refusal of its files, when
// there are others to fall back on.
func (s *Supervisor) failLaunch(want order, err error) error {
	if !s.process.ended() {
		s.kill() // It would be neither running nor gone.
	}
	s.backOff.failed(s.process.started, err)
	s.process = nil
	if s.mem.doc != nil && s.mem.doc.revision != want.doc.revision {
		return s.refuse(want, err)
	}
	return err
}

// refuse notes that a configuration can not be run, so that the last good one is.
func (s *Supervisor) refuse(want order, err error) error {
	if cause := new(fs.PathError); errors.As(err, &cause) {
		return err // It is the disk's fault: try again.
	}
	s.refused[want.doc.revision] = s.safe(err)
	s.Log.Warn("the configuration is refused", "config", want.doc.revision, "reason", s.safe(err))
	return err
}

// converge changes a running PgBouncer, one stage at a time: what sinks before what
// rises, and no rise into what has not been let go.
func (s *Supervisor) converge(ctx context.Context, want order) error {
	if s.running.doc == nil { // It was started, but something went wrong since.
		return s.apply(ctx, want, want.limits)
	}
	if s.sample == nil {
		return errNoAnswer
	}
	if err := errors.Join(s.follow(ctx), s.settle(ctx)); err != nil {
		return err
	}
	if s.running.doc.revision == want.doc.revision {
		s.upheaval.since = time.Time{}
	}
	next := step(s.running.limits, want.limits, connections(*s.sample))
	switch {
	case s.running.doc.revision != want.doc.revision || !maps.Equal(next, s.running.limits):
		return s.apply(ctx, want, next)
	case s.upheaval.frozen:
		return s.rewrite(ctx)
	case !maps.Equal(next, want.limits):
		return nil // Look again at the next tick.
	}
	return s.remember(want)
}

// apply makes PgBouncer run other files. When it does not take them, those before
// are put back.
func (s *Supervisor) apply(ctx context.Context, want order, limits pgbouncer.Limits) error {
	if s.running.doc != nil {
		if err := s.running.doc.PgBouncer.ReloadsTo(want.doc.PgBouncer); err != nil {
			return s.refuse(want, err)
		}
	}
	s.relay.forget()
	s.lower(limits)
	err := s.write(pgbouncer.Rendering{Config: want.doc.PgBouncer, Limits: limits})
	if err != nil {
		return s.refuse(want, err)
	}
	switch done, err := s.reloadTo(ctx, want, limits); {
	case !done:
		return err // Look again at the next tick.
	case err != nil:
		return s.failReload(ctx, want, err)
	}
	s.sweep()
	if err := s.verify(ctx, limits); err != nil {
		return err
	}
	s.passwords.replaced(cmp.Or(s.running.doc, want.doc), want.doc, s.relay.wrongPasswords())
	s.running = applied{doc: want.doc, limits: limits}
	if maps.Equal(limits, want.limits) {
		return s.remember(want)
	}
	return nil
}

// rewrite has PgBouncer read files anew that are made of what it is to run and of what
// has been learned since.
func (s *Supervisor) rewrite(ctx context.Context) error {
	if err := s.write(pgbouncer.Rendering{Config: s.running.doc.PgBouncer, Limits: s.running.limits}); err != nil {
		return err
	}
	return s.reload(ctx)
}

// reload makes PgBouncer read its files, and forget what else it was told.
func (s *Supervisor) reload(ctx context.Context) error {
	s.retries.inForce, s.revival.on, s.revival.turn = 0, false, time.Time{}
	err := s.tally.reloaded(s.admin.Reload(ctx))
	if err == nil {
		s.upheaval.frozen = false
	}
	return err
}

func (s *Supervisor) failReload(ctx context.Context, want order, err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || s.running.doc == nil {
		return err // Whether it took the files is not known: ask again.
	}
	err = errors.New("PgBouncer refuses the configuration: " + cmp.Or(s.relay.refusal(), refusal.Message))
	if s.running.doc.revision != want.doc.revision {
		err = s.refuse(want, err)
	}
	back := s.rewrite(ctx)
	if back == nil {
		s.sweep()
	}
	return errors.Join(err, back)
}

// confirm verifies and remembers what was just started.
func (s *Supervisor) confirm(ctx context.Context, want order) error {
	if err := s.verify(ctx, want.limits); err != nil {
		s.running.doc = nil
		return err
	}
	return s.remember(want)
}

// verify reads back the limits in force.
func (s *Supervisor) verify(ctx context.Context, limits pgbouncer.Limits) error {
	states, err := s.admin.Databases(ctx)
	if err != nil {
		return err
	}
	got := pgbouncer.Limits{}
	for _, db := range states {
		got[db.Name] = max(db.MaxConnections, db.PoolSize)
	}
	if !maps.Equal(got, limits) {
		return errNotTaken
	}
	return nil
}
