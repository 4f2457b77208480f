// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"cmp"
	"fmt"
	"slices"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
)

const (
	// calmRounds of roundSeconds are more than the patience with a pod that does not
	// get ready, and the second chance it has after.
	calmRounds   = 150
	roundSeconds = 10
	// quietRounds without a write are quiet: longer than a pod whose try failed waits for
	// the next.
	quietRounds = 26
	// arrival is how many rounds what was decided before may take to be done.
	arrival = 3
)

// calm is the end of all disturbance: what is under way arrives, the server answers,
// one leader goes on, and Deployments do their work. Then shares are to be fair, all
// pods of the newest template are to run, and nothing is to be written any more.
func (w *world) calm(c *chance) {
	w.note("all is calm from here on")
	for _, l := range w.leaders {
		l.kill()
	}
	for _, late := range w.wire {
		_ = late()
	}
	w.wire, w.server.up, w.server.others, w.server.orphans = nil, true, 0, 0
	for _, p := range w.pods {
		if p.cutOff = false; p.object() == nil {
			p.exit()
			p.ended = true
		}
	}
	w.makeUpstream()
	l := w.leaders[c.upTo(1, "the leader that goes on")]
	l.hearing, l.skew = 0, 0
	quiet := 0
	for n := range calmRounds {
		before := w.api.version
		serving := w.serving()
		w.round(l)
		w.check()
		if n > arrival {
			w.checkServing(serving)
		}
		if w.broken != "" {
			return
		}
		if quiet++; w.api.version != before {
			quiet = 0
		}
		if quiet == quietRounds {
			w.checkCalm()
			return
		}
	}
	w.violate("L1: %d calm rounds do not end in rounds without a write", calmRounds)
}

// round is everybody doing all there is to do, once.
func (w *world) round(l *leader) {
	w.seconds += roundSeconds
	for _, name := range w.poolNames() {
		w.deploy(name)
		l.look(poolKey(name))
	}
	for _, p := range slices.Clone(w.pods) {
		w.keep(p)
	}
	w.server.orphans = 0
	l.catchUpAll()
	l.finish()
}

// keep is a node and clients that behave: transactions end and new ones begin.
func (w *world) keep(p *pod) {
	switch {
	case p.failed():
		w.api.commit(podsKind, p.key, nil)
		return
	case w.pool(p.pool) == nil, p.copied:
		p.delete()
	}
	p.finish(p.active)
	p.terminate()
	p.drain()
	p.restart()
	if !p.terminating() {
		p.started = true
	}
	p.refresh()
	p.act()
	p.connect(p.limit)
	for range p.logins {
		p.countIn()
	}
	p.begin(p.idle)
	p.report()
}

// deploy is a Deployment with maxSurge 1 and maxUnavailable 0, of as many replicas
// as the pool's reconciler asks for. Old pods that are not ready go first, but no
// more than leave as many as are wanted, the new that are not ready not counted.
// Source: Kubernetes, pkg/controller/deployment/rolling.go.
func (w *world) deploy(name string) {
	want := int(w.replicas(name))
	var old, fresh []*pod
	ready, unready := 0, 0
	for _, p := range w.pods {
		if p.pool != name || p.copied || p.terminating() || p.failed() {
			continue
		}
		if p.template != w.templates[name] {
			old = append(old, p)
		} else if fresh = append(fresh, p); !p.ready() {
			unready++
		}
		if p.ready() {
			ready++
		}
	}
	byNeed := func(a, b *pod) int { return cmp.Or(compareBool(a.ready(), b.ready()), cmp.Compare(a.uid, b.uid)) }
	slices.SortFunc(old, byNeed)
	slices.SortFunc(fresh, byNeed)
	switch {
	case len(fresh) > want:
		fresh[0].delete()
	case len(old) > 0 && len(fresh)+len(old)-unready > want && (!old[0].ready() || ready > want):
		old[0].delete()
	case len(fresh) < want && len(fresh)+len(old) <= want:
		w.newPod(name, fmt.Sprint(name, "-r", w.api.uids), nil)
	}
}

func compareBool(a, b bool) int {
	if a == b {
		return 0
	}
	if b {
		return -1
	}
	return 1
}

// replicas is what the pool's reconciler has its Deployment run.
func (w *world) replicas(name string) int32 {
	for _, a := range w.upstream().Status.Pools {
		if a.Name == name {
			share := a.Share
			if a.Entitled != nil {
				share = a.Entitled
			}
			return budget.PodsThatFit(value(share), a.Floor, value(w.pool(name).Spec.Replicas))
		}
	}
	return 0
}

// serving is how many pods of each pool clients can use, and go on to.
func (w *world) serving() map[string]int {
	n := map[string]int{}
	for _, p := range w.pods {
		if p.ready() && !p.terminating() && !p.told && !p.ended {
			n[p.pool]++
		}
	}
	return n
}

// checkServing: while the ledger moves connections, a pool that has room for two
// pods does not stop to serve.
func (w *world) checkServing(before map[string]int) {
	now := w.serving()
	for _, a := range w.upstream().Status.Pools {
		if before[a.Name] > 1 && now[a.Name] == 0 && *a.Share >= 2*a.Floor && value(w.pool(a.Name).Spec.Replicas) > 1 {
			w.violate("L3: pool %s had %d pods that served, and has none", a.Name, before[a.Name])
		}
	}
}

// checkCalm holds a settled world against what calm is to lead to.
func (w *world) checkCalm() {
	u := w.upstream()
	ledger := entries(u.Status.Ledger)
	granted, running := map[string]int32{}, map[string]int32{}
	for _, p := range w.pods {
		e := ledger[p.uid]
		if p.limit != value(e.Granted) || p.limit != value(e.Held) || p.running != (p.limit > 0) {
			w.violate("L1: %s runs with %d, is granted %d and holds %d", p, p.limit, value(e.Granted), value(e.Held))
		}
		granted[p.pool] += p.limit
		running[p.pool]++
		if p.limit > 0 && (p.template != w.templates[p.pool] || !p.ready()) {
			w.violate("L2: %s is of template %d of %d, ready %t", p, p.template, w.templates[p.pool], p.ready())
		}
	}
	for _, a := range u.Status.Pools {
		if want := w.replicas(a.Name); running[a.Name] != want {
			w.violate("L2: pool %s has %d pods of %d", a.Name, running[a.Name], want)
		}
		if granted[a.Name] != *a.Share && value(w.pool(a.Name).Spec.Replicas) > 0 {
			w.violate("L1: pool %s has %d connections, its share is %d", a.Name, granted[a.Name], *a.Share)
		}
	}
	w.checkFair(u)
}

// checkFair holds what pools are entitled to against the shares by their claims.
func (w *world) checkFair(u *poolv1.Upstream) {
	var claims []budget.Claim
	for _, name := range w.poolNames() {
		pool := w.pool(name)
		claims = append(claims, budget.Claim{
			Key:    budget.PoolKey{Namespace: namespace, Name: name},
			Weight: cmp.Or(pool.Spec.ServerConnections.Weight, 100), Maximum: pool.Spec.ServerConnections.Maximum,
			Minimum: pool.Spec.ServerConnections.Minimum,
			Floor:   int32(max(1, len(pool.Spec.Databases))), Replicas: value(pool.Spec.Replicas),
		})
	}
	shares := budget.Shares(w.server.capacity().Budget(reserveOf(u)).Connections, claims)
	for _, c := range claims {
		if c.Replicas > 0 && shares[c.Key] == 0 {
			return // Floors do not fit, and who runs keeps running: the order is not Shares'.
		}
	}
	for _, a := range u.Status.Pools {
		have := a.Share
		if a.Entitled != nil {
			have = a.Entitled
		}
		if want := shares[budget.PoolKey{Namespace: a.Namespace, Name: a.Name}]; *have != want {
			w.violate("L1: pool %s is entitled to %d, by the claims to %d", a.Name, *have, want)
		}
	}
}
