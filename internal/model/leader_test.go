// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/status"
)

// outcome is what becomes of one call to the API server.
type outcome int

const (
	succeeds outcome = iota
	// isLost never arrives; the caller gets an error.
	isLost
	// isUnanswered arrives, and the caller gets an error all the same.
	isUnanswered
	// isLate arrives some time after the caller has got its error.
	isLate
	// callerDies before the call is made.
	callerDies
	// callerDiesAfter the call was made.
	callerDiesAfter
)

var outcomes = map[outcome]string{
	succeeds: "", isLost: " (is lost)", isUnanswered: " (arrives, and no answer comes)", isLate: " (will arrive late)",
	callerDies: " (dies before)", callerDiesAfter: " (dies after)",
}

var (
	errDead    = errors.New("the process has ended")
	errTimeout = fmt.Errorf("waiting for an answer: %w", os.ErrDeadlineExceeded)
)

// leader is a process with a BudgetReconciler, one that leads or believes it still
// does: two may, while a lease changes hands.
type leader struct {
	name string
	w    *world
	// seen is how far the cache of each kind is. It never goes back.
	seen    map[kind]int
	skew    time.Duration
	records *controllers.Records
	// looks are the newest good looks at the server by pool, failed the pools whose
	// newest look found nothing.
	looks  map[types.NamespacedName]controllers.Record
	failed map[types.NamespacedName]bool
	// reached is whether some look was good when the pass began, or one has been since.
	reached bool
	// lookedAt are the looks at the begin of the pass, and after each that came in since;
	// poolsRead are the pools as the pass read them.
	lookedAt  []map[types.NamespacedName]controllers.Record
	poolsRead []snapshot
	// hearing chooses which pods' answers arrive, and how old they are.
	hearing int
	// heard is what each pod said to this leader last, listed the objects as it read
	// them last.
	heard  map[string]contract.Status
	listed map[kind]snapshot
	pass   *pass
	// passes counts, so that the channels of Signals, which nobody reads, do not fill.
	passes     int
	reconciler *controllers.BudgetReconciler
}

// pass is one Reconcile in a goroutine of its own. Either it runs or the scheduler
// does, never both.
type pass struct {
	parked chan string
	resume chan outcome
	done   chan struct{}
	// op is the call that waits for the scheduler.
	op   string
	dead bool
}

func newLeader(w *world, name string) *leader {
	l := &leader{name: name, w: w, seen: map[kind]int{}}
	l.restart(0)
	return l
}

// restart begins a new process, whose caches start lag states ago.
func (l *leader) restart(lag int) {
	l.kill()
	l.records, l.looks, l.failed, l.heard = controllers.NewRecords(), map[types.NamespacedName]controllers.Record{}, map[types.NamespacedName]bool{}, map[string]contract.Status{}
	l.listed = map[kind]snapshot{}
	for k, states := range l.w.api.history {
		l.seen[k] = max(len(states)-1-lag, 0)
	}
	l.wire()
}

// wire makes the reconciler, with what the mutant, if any, puts in between.
func (l *leader) wire() {
	m := l.w.mutant
	cache := reader{view: l.cached, name: "cached", gate: l.gate}
	var live client.Reader = reader{view: l.w.api.now, name: "live", gate: l.gate}
	if m.cachedLive {
		live = cache
	}
	var api client.Client = &apiClient{reader: cache, writes: &writes{leader: l, api: l.w.api}}
	if m.client != nil {
		api = m.client(l, api)
	}
	if m.live != nil {
		live = m.live(l, live)
	}
	var asker controllers.StatusAsker = wireAsker{l}
	if m.asker != nil {
		asker = m.asker(l, asker)
	}
	l.reconciler = &controllers.BudgetReconciler{
		Client: api, Live: live, Asker: asker, Records: l.records, Signals: controllers.NewSignals(), Clock: skewed{l},
		Recorder: &events.FakeRecorder{},
	}
}

func (l *leader) cached(k kind) snapshot {
	l.listed[k] = l.w.api.history[k][l.seen[k]]
	if k == pools {
		l.poolsRead = append(l.poolsRead, l.listed[k])
	}
	return l.listed[k]
}

// catchUp lets the cache of a kind see up to n further states; n < 0 is all.
func (l *leader) catchUp(k kind, n int) {
	last := len(l.w.api.history[k]) - 1
	if n < 0 {
		n = last
	}
	l.seen[k] = min(l.seen[k]+n, last)
}

func (l *leader) catchUpAll() {
	for k := range l.w.api.history {
		l.catchUp(k, -1)
	}
}

// begin starts a pass, and returns when it waits before its first call.
func (l *leader) begin() {
	if l.passes++; l.passes%32 == 0 {
		l.reconciler.Signals = controllers.NewSignals()
	}
	l.reached, l.poolsRead = l.reachable(), nil
	l.lookedAt = []map[types.NamespacedName]controllers.Record{maps.Clone(l.looks)}
	for _, p := range l.w.pods {
		p.saidBefore[l] = len(p.said)
	}
	p := &pass{parked: make(chan string), resume: make(chan outcome), done: make(chan struct{})}
	l.pass = p
	go func() {
		defer close(p.done)
		var upstream poolv1.Upstream
		if err := l.reconciler.Get(context.Background(), types.NamespacedName{Name: upstreamName}, &upstream); err == nil {
			_, _ = l.reconciler.Reconcile(context.Background(), &upstream)
		}
	}()
	l.await()
}

// await hands control to the pass, until it waits for its next call or ends.
func (l *leader) await() {
	select {
	case l.pass.op = <-l.pass.parked:
	case <-l.pass.done:
		l.pass = nil
	}
}

// proceed lets the waiting call happen.
func (l *leader) proceed(o outcome) {
	l.pass.resume <- o
	l.await()
}

func (l *leader) kill() {
	if l.pass != nil {
		l.proceed(callerDies)
	}
}

// finish runs a whole pass, or what is left of one.
func (l *leader) finish() {
	if l.pass == nil {
		l.begin()
	}
	for l.pass != nil {
		l.proceed(succeeds)
	}
}

// wait parks the pass until the scheduler says what becomes of op.
func (l *leader) wait(op string) outcome {
	p := l.pass
	if p.dead {
		return callerDies
	}
	p.parked <- op
	o := <-p.resume
	p.dead = o == callerDies || o == callerDiesAfter
	return o
}

// gate is for reads.
func (l *leader) gate(op string) error {
	switch l.wait(op) {
	case callerDies, callerDiesAfter:
		return errDead
	case isLost, isUnanswered, isLate:
		return errTimeout
	default:
		return nil
	}
}

// writes are a leader's writes to the API server.
type writes struct {
	leader *leader
	api    *api
}

func (s *writes) do(op string, effect func() error) error {
	switch s.leader.wait(op) {
	case callerDies:
		return errDead
	case callerDiesAfter:
		_ = effect()
		return errDead
	case isLost:
		return errTimeout
	case isUnanswered:
		_ = effect()
		return errTimeout
	case isLate:
		s.leader.w.wire = append(s.leader.w.wire, effect)
		return errTimeout
	default:
		return effect()
	}
}

// ledger writes a status, and holds it against the invariants.
func (s *writes) ledger(want *poolv1.Upstream) error {
	w := s.leader.w
	before := w.upstream()
	if err := s.api.update(want, true); err != nil {
		return err
	}
	w.writes++
	w.checkWrite(s.leader, before, w.upstream())
	return nil
}

// skewed is a leader's own clock.
type skewed struct{ l *leader }

func (c skewed) Now() time.Time                  { return c.l.w.clock().Add(c.l.skew) }
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// look is a look at the server on behalf of a pool.
func (l *leader) look(pool types.NamespacedName) {
	l.w.ticks++
	record := l.records.Pool(pool)
	record.Upstream, record.Endpoint, record.Interval = upstreamName, endpoint, time.Minute
	record.ProbedAt, record.Problem = l.w.clock().Add(l.skew), nil
	if l.w.server.up {
		record.Observation, record.SeenAt = l.w.server.observation(), record.ProbedAt
		l.looks[pool] = record
		l.lookedAt = append(l.lookedAt, maps.Clone(l.looks))
		delete(l.failed, pool)
		l.reached = true
	} else {
		record.Problem = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "nothing answers")
		l.failed[pool] = true
		if l.w.mutant.deaf {
			record.Problem = nil
		}
	}
	l.records.SetPool(pool, record)
}

// reachable is whether some pool's newest look was a good one.
func (l *leader) reachable() bool {
	for pool := range l.looks {
		if !l.failed[pool] {
			return true
		}
	}
	return false
}

// wireAsker carries questions to pods. An answer is of the time since the pass began:
// a nonce keeps older ones from being played back. It may be late, though, and what
// the Records remember is older. Which answers arrive is chosen by the
// pass's hearing and the pod's UID, because pods are asked all at once.
type wireAsker struct{ l *leader }

func (a wireAsker) Ask(_ context.Context, ip string, key []byte) (contract.Status, error) {
	w := a.l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.answering(ip)
	if p == nil || len(key) == 0 {
		return contract.Status{}, errTimeout
	}
	answer := p.status()
	switch mode := mix(a.l.hearing, p.uid); {
	case a.l.hearing == 0 || mode >= 4:
		p.say()
	case mode == 0:
		return contract.Status{}, errTimeout
	default:
		answer = p.late(a.l, mix(a.l.hearing+1, p.uid))
	}
	a.l.heard[p.uid] = answer
	return answer, nil
}

// mix is a number from 0 to 7 that is as good as chance and always the same.
func mix(seed int, uid string) int {
	h := uint32(seed) * 2654435761
	for _, c := range uid {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h>>13) % 8
}
