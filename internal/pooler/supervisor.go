// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// tick is how often the supervisor looks after PgBouncer.
const tick = 250 * time.Millisecond

// Supervisor runs PgBouncer as the pod's grant and the pool's configuration say.
// One goroutine, that of Run, decides and acts; what others may see is in view.
type Supervisor struct {
	Options
	admin pgbouncer.Admin
	relay relay
	view  view

	in  inbox
	mem memory
	// refused are the revisions that PgBouncer did not take, and its words.
	refused map[string]string
	peering peering
	courier *courier

	// process is nil while PgBouncer does not run.
	process *process
	running applied
	// written are the files of TLS that the files of PgBouncer name, by their paths.
	written map[string][]byte
	backOff backOff
	// leaving is how far PgBouncer is on its way out; nil while it is to run.
	leaving  *departure
	shrink   shrink
	upheaval upheaval
	// sample is of this step; nil while PgBouncer can not be asked.
	sample    *pgbouncer.Sample
	demand    demand
	letting   *contract.LettingGo
	retries   retries
	revival   revival
	passwords passwords
	hold      hold
	sentry    pgbouncer.Sentry
	fairness  fairness
	patience  patience
	asked     time.Time
	tally     tally
	problem   string
}

// applied is what PgBouncer was last seen to run.
type applied struct {
	doc    *document
	limits pgbouncer.Limits
}

// New returns a Supervisor. It does nothing before Run.
func New(options Options) *Supervisor {
	s := &Supervisor{Options: options.withDefaults(), refused: map[string]string{}}
	s.admin, s.courier = s.Options.admin(), newCourier(s.Options)
	s.relay.log, s.relay.woken = s.Log, make(chan struct{}, 1)
	return s
}

// Run supervises until ctx ends, then drains PgBouncer and returns. It returns an
// error when it can not begin, or can not serve health and status.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.RunDir, 0o700); err != nil {
		return fmt.Errorf("making the run directory: %w", err)
	}
	s.begin()
	s.view.beat()
	context.AfterFunc(ctx, s.view.drain) // No step that is under way delays it.
	served := make(chan error, 2)
	status, err := serve(ctx, "health and status", s.StatusAddress, s.Handler(), served)
	if err != nil {
		return err
	}
	defer status.Close()
	metrics, err := serve(ctx, "metrics", s.MetricsAddress, s.MetricsHandler(), served)
	if err != nil {
		return err
	}
	defer metrics.Close()
	requests, err := listenForRequests(ctx, s.outside(s.Options.paths().PeerSocket()))
	if err != nil {
		return err
	}
	defer requests.Close()
	go serveRequests(context.WithoutCancel(ctx), requests, s.courier.deliver) // Until it has drained.
	return s.loop(ctx, served)
}

// serve answers HTTP at an address until the server is closed; served hears how it ends.
func serve(ctx context.Context, what, address string, handler http.Handler, served chan<- error) (*http.Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serving %s: %w", what, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second}
	go func() { served <- fmt.Errorf("serving %s: %w", what, server.Serve(listener)) }()
	return server, nil
}

// begin takes over from a container of this pod that ran before, if there was one.
// How that one ended is not known.
func (s *Supervisor) begin() {
	mem, err := recall(s.RunDir)
	if err != nil {
		s.Log.Error("what an earlier container has noted is lost", "reason", err.Error())
	}
	s.mem = mem
	if mem.doc != nil || err != nil {
		s.backOff.wait(orphanTime, errOrphans)
	}
	torn, _ := filepath.Glob(filepath.Join(s.RunDir, newFiles)) // The pattern is ours.
	for _, file := range torn {
		_ = os.Remove(file) // If it stays it is only in the way.
	}
}

func (s *Supervisor) loop(ctx context.Context, served <-chan error) error {
	// What is under way when ctx ends is finished: commands have time limits of their own.
	work := context.WithoutCancel(ctx)
	changed := watch(ctx, s.Log, s.PollInterval, s.ConfigDir, s.PodDir)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	s.look()
	for ctx.Err() == nil {
		s.Step(work)
		select {
		case <-ctx.Done():
		case err := <-served:
			s.kill()
			return err
		case <-changed:
			s.look()
		case <-s.end():
		case <-s.relay.woken:
			s.rush(work)
		case <-ticker.C:
		}
	}
	return s.drain(work, ticker.C)
}

// end is closed when PgBouncer has ended.
func (s *Supervisor) end() <-chan struct{} {
	if s.process == nil {
		return nil
	}
	return s.process.exited
}

// look reads what the manager has laid down.
func (s *Supervisor) look() {
	s.in = readInbox(s.ConfigDir, s.PodDir)
	s.mem = s.mem.of(s.in.uid)
	s.lookForPeers()
	if s.in.doc != nil {
		s.relay.hide(s.in.doc.PgBouncer.Secrets())
	}
	if s.mem.doc != nil {
		s.relay.hide(s.mem.doc.PgBouncer.Secrets())
	}
}

// Step brings PgBouncer one step nearer to what the manager wants.
func (s *Supervisor) Step(ctx context.Context) {
	s.view.beat()
	s.notice(ctx)
	s.observe(ctx)
	want, unseen := s.order()
	s.problem = cmp.Or(want.problem, s.peering.problem)
	err := s.toward(ctx, want)
	if err == nil && s.leaving == nil {
		err = errors.Join(s.pause(ctx), s.join(ctx))
	}
	if err == nil {
		err = errors.Join(s.pace(ctx), s.revive(ctx), s.stand(ctx))
	}
	if err = errors.Join(unseen, err); err != nil {
		s.problem = s.safe(err)
	}
	s.evict(ctx)
	s.tell()
}

// order is what is to run. A grant that can not be noted is not obeyed.
func (s *Supervisor) order() (order, error) {
	want := decide(s.mem, s.in, s.refused)
	err := s.see(want)
	if err != nil {
		before := s.in
		before.grant = contract.Grant{}
		want = decide(s.mem, before, s.refused)
	}
	return want, err
}

// toward is the table of what there is to do.
func (s *Supervisor) toward(ctx context.Context, want order) error {
	switch {
	case s.leaving != nil && (s.leaving.told || want.parked()):
		return s.depart(ctx)
	case want.parked() && s.process != nil:
		s.Log.Info("no connection is granted any more: PgBouncer ends when its clients have left", "gen", want.grant.Gen)
		s.leaving = newDeparture(s.SpreadTime+s.UnreadyTime, s.drainTimeout())
		return nil
	case want.waits():
		return nil
	case want.parked():
		return s.remember(want)
	case s.process == nil:
		s.leaving = nil
		return s.launch(ctx, want)
	default:
		s.leaving = nil
		return s.converge(ctx, want)
	}
}

// notice takes note of a PgBouncer that has ended.
func (s *Supervisor) notice(ctx context.Context) {
	if s.process == nil || !s.process.ended() {
		return
	}
	if s.leaving == nil {
		s.Log.Warn("PgBouncer has ended by itself", "reason", fmt.Sprint(s.process.err))
		s.tally.ended(s.sample)
		s.backOff.failed(s.process.started, fmt.Errorf("PgBouncer has ended by itself (%w) and is started again", s.process.err))
	}
	s.backOff.wait(orphanTime, errOrphans)
	s.sentry.Leave(ctx)
	s.leaving.leave()
	s.process, s.leaving, s.running, s.shrink, s.upheaval, s.patience = nil, nil, applied{}, shrink{}, upheaval{}, patience{}
	s.retries.interval, s.retries.inForce, s.retries.had = 0, 0, logins{}
}

// see makes sure that no other grant of this generation or an older one is ever
// obeyed again, before this one is. One that can not be obeyed yet binds nobody.
func (s *Supervisor) see(want order) error {
	if want.grant.Gen <= s.mem.Seen.Gen || want.waits() {
		return nil
	}
	return s.jot(func(m *memory) { m.UID, m.Seen = s.in.uid, s.in.grant })
}

// remember notes that the order is in force.
func (s *Supervisor) remember(want order) error {
	doc := want.doc
	if doc == nil {
		doc = s.mem.doc
	}
	if want.grant.Gen == 0 || s.mem.Applied == want.grant && revision(s.mem.doc) == revision(doc) {
		return nil
	}
	if want.grant.Gen > s.mem.Applied.Gen {
		s.retries.interval = 0 // There may be room now.
	}
	err := s.jot(func(m *memory) {
		m.Applied, m.doc = want.grant, doc
		if doc != nil {
			m.Config = doc.data
			m.DrainSeconds = shorter(m.DrainSeconds, doc.DrainTimeoutSeconds)
		}
	})
	if err == nil {
		s.Log.Info("a grant is in force", "gen", want.grant.Gen, "share", want.grant.Share, "config", revision(doc))
	}
	return err
}

// jot changes the memory. What can not be written down has not happened: a new
// container would not know of it.
func (s *Supervisor) jot(change func(*memory)) error {
	next := s.mem
	change(&next)
	err := next.save(s.RunDir)
	if err == nil {
		s.mem = next
	}
	return err
}

func revision(doc *document) string {
	if doc == nil {
		return ""
	}
	return doc.revision
}

// evict ends what PgBouncer should not have let in.
func (s *Supervisor) evict(ctx context.Context) {
	if s.process == nil || s.sample == nil || time.Since(s.asked) < 2*time.Second {
		return
	}
	s.asked = time.Now()
	ended, err := s.admin.EndReplication(ctx)
	if err == nil && ended > 0 {
		s.Log.Warn("replication through the pool is refused", "clients", ended)
	}
}

// safe is an error in words that hold no password.
func (s *Supervisor) safe(err error) string {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return s.relay.redact(err.Error())
}

// kill ends PgBouncer at once.
func (s *Supervisor) kill() {
	if s.process != nil {
		_ = s.process.signal(os.Kill)
		<-s.process.exited
	}
}

var (
	errNotTaken = errors.New("PgBouncer does not run what its files say yet")
	errOrphans  = errors.New("PgBouncer starts when the connections that were left behind have ended")
	errNoAnswer = errors.New("PgBouncer does not answer")
)
