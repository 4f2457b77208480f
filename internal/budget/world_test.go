// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// world is a server, the API server's objects and the pods that run, as small as
// the protocol allows. What happens in it is up to the test; what must hold in it
// at every moment is in invariants_test.go.
type world struct {
	budget    int32
	reachable bool
	claims    []budget.Claim
	pods      []*pod
	gone      map[string]bool

	// ledger is Upstream.status, version its resourceVersion.
	ledger  budget.Ledger
	version int
	account budget.Account

	clock  int64
	writes int
}

// pod is a pooler pod: its object, its volume and its process.
type pod struct {
	uid, name string
	pool      budget.PoolKey
	created   int64
	// revision of the pod template, for rollouts.
	revision int

	// The object.
	annotation  *budget.Told
	terminating bool
	terminated  bool
	overdue     bool

	// The container.
	file     *budget.Told
	started  bool
	draining bool
	ready    bool

	// What outlives a restart of the container: the grant in force, and what a drain
	// has left of it.
	gen         int64
	config      string
	share, kept int32

	// The process; a limit of 0 is none.
	cap, current int32

	// said are all answers it ever gave.
	said []budget.Ack
}

func newWorld(connections int32, claims ...budget.Claim) *world {
	return &world{budget: connections, reachable: true, claims: claims, gone: map[string]bool{}}
}

func (w *world) claim(key budget.PoolKey) *budget.Claim {
	for i := range w.claims {
		if w.claims[i].Key == key {
			return &w.claims[i]
		}
	}
	return nil
}

// add creates a pod. Several pods can be of the same second.
func (w *world) add(key budget.PoolKey, tick int64) *pod {
	w.clock += tick
	n := len(w.pods) + len(w.gone)
	p := &pod{
		// Names do not follow age, as they do not in Kubernetes.
		uid: fmt.Sprintf("uid-%d", n), name: fmt.Sprintf("%s-%d-%d", key.Name, (n*7)%10, n), pool: key, created: w.clock,
	}
	w.pods = append(w.pods, p)
	return p
}

// remove takes away the object of a pod whose containers have ended.
func (w *world) remove(p *pod) {
	w.gone[p.uid] = true
	w.pods = slices.DeleteFunc(w.pods, func(other *pod) bool { return other == p })
}

// refresh is the kubelet: the volume follows the annotation, until the pod is to end.
func (p *pod) refresh() {
	if !p.terminating && p.annotation != nil {
		p.file = p.annotation
	}
}

// obey is the pooler: it takes a grant that is not older than the one it has and
// says something else, and while it drains none.
func (p *pod) obey() {
	if !p.started || p.terminated || p.draining || p.file == nil || p.file.Gen < p.gen {
		return
	}
	if *p.file == (budget.Told{Gen: p.gen, Share: p.share, Config: p.config}) {
		return
	}
	p.gen, p.share, p.config = p.file.Gen, p.file.Share, p.file.Config
	p.kept, p.cap = p.share, p.share
}

// open and let go are PgBouncer: it opens up to its limit, and what is above goes
// when clients let it.
func (p *pod) open(n int32)  { p.current = max(p.current, min(p.cap, p.current+n)) }
func (p *pod) letGo(n int32) { p.current = max(0, p.current-n) }

// drain is the pooler told to end: as clients leave it gives back for good, but the
// last that PgBouncer needs to run; when they all have left, PgBouncer ends.
func (p *pod) drain(n int32) {
	p.letGo(n)
	p.cap = min(p.cap, max(p.current, 1))
	p.kept = min(p.kept, p.cap)
}

func (p *pod) exit() { p.cap, p.current = 0, 0 }

// end is the end of the containers of a pod that is to end.
func (p *pod) end() { p.terminated, p.ready, p.cap, p.current = true, false, 0, 0 }

// restart is what follows a drain that a failed liveness probe began: the container
// comes back with the grant it had, less what it gave back.
func (p *pod) restart() {
	p.draining, p.ready, p.current = false, false, 0
	p.cap = min(p.share, p.kept)
}

func (p *pod) say() *budget.Ack {
	if !p.started || p.terminated {
		return nil
	}
	ack := budget.Ack{Gen: p.gen, Config: p.config, Cap: p.cap, Current: p.current, Draining: p.draining}
	p.said = append(p.said, ack)
	return &ack
}

// seen is the pod as a pass sees it.
func (p *pod) seen(ack *budget.Ack) budget.Pod {
	return budget.Pod{
		UID: p.uid, Namespace: p.pool.Namespace, Name: p.name, Pool: p.pool.Name, Created: p.created, Template: fmt.Sprint(p.revision),
		Terminating: p.terminating, Terminated: p.terminated, Ready: p.ready, Pending: !p.started,
		Overdue: p.overdue, Ack: ack, Told: p.annotation,
	}
}

// operator is one leader, or one that believes it still is.
type operator struct {
	world *world
	// What it has read, kept as it was.
	ledger      budget.Ledger
	version     int
	facts       budget.Facts
	annotations map[string]*budget.Told
	// What it has decided, and written.
	next    budget.Ledger
	account budget.Account
	written bool
}

// look reads ledger, pods, answers and server, in this order. answer says what a
// pod's answer is: none, an old one, or a fresh one.
func (w *world) look(answer func(*pod) *budget.Ack) *operator {
	o := &operator{
		world: w, version: w.version, annotations: map[string]*budget.Told{},
		ledger: budget.Ledger{Gen: w.ledger.Gen, Entries: slices.Clone(w.ledger.Entries)},
		facts: budget.Facts{
			Budget: w.budget, Reachable: w.reachable, Claims: slices.Clone(w.claims), Absent: maps.Clone(w.gone),
		},
	}
	for _, p := range w.pods {
		o.annotations[p.uid] = p.annotation
		o.facts.Pods = append(o.facts.Pods, p.seen(answer(p)))
	}
	o.next, o.account = budget.Next(o.ledger, o.facts)
	return o
}

// write is the update with the version that was read; another is refused.
func (o *operator) write() {
	if o.version != o.world.version || o.written {
		return
	}
	o.written = true
	o.world.account = o.account
	if !equal(o.ledger, o.next) {
		o.world.ledger = o.next
		o.world.version++
		o.world.writes++
	}
}

// patch tells up to n pods, each only if nobody else has told it since.
func (o *operator) patch(n int) {
	if !o.written {
		return
	}
	for _, p := range o.world.pods {
		i := slices.IndexFunc(o.next.Entries, func(e budget.Entry) bool { return e.UID == p.uid })
		if i < 0 || p.annotation != o.annotations[p.uid] {
			continue
		}
		e := o.next.Entries[i]
		grant := budget.Told{Gen: e.Gen, Share: e.Granted, Config: e.Config}
		if (p.annotation != nil && *p.annotation == grant) || n == 0 {
			continue
		}
		n--
		p.annotation = &grant
		o.annotations[p.uid] = p.annotation
	}
}

// fresh asks the pod now.
func fresh(p *pod) *budget.Ack { return p.say() }

// pass is one whole pass of a leader that nothing disturbs.
func (w *world) pass() *operator {
	o := w.look(fresh)
	o.write()
	o.patch(len(w.pods))
	return o
}

// settle lets everything that is under way come to its end, but starts nothing new.
func (w *world) settle() {
	for _, p := range slices.Clone(w.pods) {
		switch {
		case p.terminated:
			w.remove(p)
			continue
		case p.terminating:
			p.end()
			continue
		}
		p.started = true
		if p.draining {
			p.exit()
			p.restart()
		}
		p.refresh()
		p.obey()
		p.letGo(p.current - p.cap)
		p.open(p.cap)
		p.ready = p.cap > 0
	}
}
