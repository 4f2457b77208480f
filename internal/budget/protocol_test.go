// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// disorder is everything that can happen, in any order: two leaders that look,
// write and tell in pieces, pods that are slow, drain, restart and end, a server
// that changes its mind and falls silent.
type disorder struct {
	*world
	leaders [2]*operator
}

func (d *disorder) anyPod(t *rapid.T) *pod {
	if len(d.pods) == 0 {
		t.Skip("no pod")
	}
	return rapid.SampledFrom(d.pods).Draw(t, "pod")
}

// answer is none, an old one, or what the pod says now.
func answer(t *rapid.T) func(*pod) *budget.Ack {
	return func(p *pod) *budget.Ack {
		switch rapid.IntRange(0, 4).Draw(t, "answer") {
		case 0:
			return nil
		case 1:
			if len(p.said) > 0 {
				return new(rapid.SampledFrom(p.said).Draw(t, "an old answer"))
			}
			return nil
		default:
			return p.say()
		}
	}
}

func (d *disorder) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": func(t *rapid.T) { checkWorld(t, d.world) }}
	for _, more := range []map[string]func(*rapid.T){d.leaderActions(), d.podActions(), d.serverActions()} {
		maps.Copy(all, more)
	}
	return all
}

func (d *disorder) leaderActions() map[string]func(*rapid.T) {
	leader := func(t *rapid.T) *operator {
		o := d.leaders[rapid.IntRange(0, 1).Draw(t, "leader")]
		if o == nil {
			t.Skip("it has not looked")
		}
		return o
	}
	return map[string]func(*rapid.T){
		"a leader looks": func(t *rapid.T) {
			o := d.look(answer(t))
			checkStep(t, o)
			checkOrderDoesNotMatter(t, o)
			d.leaders[rapid.IntRange(0, 1).Draw(t, "leader")] = o
		},
		"a leader writes":    func(t *rapid.T) { leader(t).write() },
		"a leader tells one": func(t *rapid.T) { leader(t).patch(1) },
		"a leader does all": func(t *rapid.T) {
			o := d.look(answer(t))
			checkStep(t, o)
			o.write()
			o.patch(len(d.pods))
		},
	}
}

func (d *disorder) podActions() map[string]func(*rapid.T) {
	some := rapid.Int32Range(1, 5)
	return map[string]func(*rapid.T){
		"a pod is made": func(t *rapid.T) {
			if len(d.pods) >= 8 {
				t.Skip("enough pods")
			}
			d.add(rapid.SampledFrom(d.claims).Draw(t, "pool").Key, rapid.Int64Range(0, 2).Draw(t, "seconds"))
		},
		"a pod starts":              func(t *rapid.T) { d.anyPod(t).started = true },
		"a file follows":            func(t *rapid.T) { d.anyPod(t).refresh() },
		"a pod obeys":               func(t *rapid.T) { d.anyPod(t).obey() },
		"a pod opens connections":   func(t *rapid.T) { d.anyPod(t).open(some.Draw(t, "n")) },
		"a pod lets go":             func(t *rapid.T) { d.anyPod(t).letGo(some.Draw(t, "n")) },
		"a pod's readiness changes": func(t *rapid.T) { p := d.anyPod(t); p.ready = p.cap > 0 && !p.ready },
		"a pod's time is up":        func(t *rapid.T) { p := d.anyPod(t); p.overdue = !p.overdue },
		"all pods do as told": func(*rapid.T) {
			for _, p := range d.pods {
				p.refresh()
				p.obey()
			}
		},
		"all pods let go": func(*rapid.T) {
			for _, p := range d.pods {
				p.letGo(p.current - p.cap)
			}
		},
		"a pod is to end": func(t *rapid.T) { d.anyPod(t).terminating = true },
		"a pod is told to end": func(t *rapid.T) {
			if p := d.anyPod(t); p.started && !p.terminated {
				p.draining = true
			}
		},
		"a pod drains": func(t *rapid.T) {
			if p := d.anyPod(t); p.draining && p.cap > 0 {
				p.drain(some.Draw(t, "n"))
			}
		},
		"a drained PgBouncer ends": func(t *rapid.T) {
			if p := d.anyPod(t); p.draining {
				p.exit()
			}
		},
		"a container restarts": func(t *rapid.T) {
			if p := d.anyPod(t); p.draining && !p.terminating {
				p.restart()
			}
		},
		"a pod ends": func(t *rapid.T) {
			if p := d.anyPod(t); p.terminating {
				p.end()
			}
		},
		"a pod is gone": func(t *rapid.T) {
			if p := d.anyPod(t); p.terminated {
				d.remove(p)
			}
		},
	}
}

func (d *disorder) serverActions() map[string]func(*rapid.T) {
	anyClaim := func(t *rapid.T) *budget.Claim { return &d.claims[rapid.IntRange(0, len(d.claims)-1).Draw(t, "pool")] }
	return map[string]func(*rapid.T){
		"the budget changes": func(t *rapid.T) { d.budget = rapid.Int32Range(0, 40).Draw(t, "budget") },
		"the server falls silent or answers": func(*rapid.T) {
			d.reachable = !d.reachable
		},
		"a weight changes":        func(t *rapid.T) { anyClaim(t).Weight = rapid.Int32Range(1, 300).Draw(t, "weight") },
		"a maximum changes":       func(t *rapid.T) { anyClaim(t).Maximum = rapid.Int32Range(0, 20).Draw(t, "maximum") },
		"a floor changes":         func(t *rapid.T) { anyClaim(t).Floor = rapid.Int32Range(1, 3).Draw(t, "floor") },
		"a configuration changes": func(t *rapid.T) { anyClaim(t).Config = rapid.StringMatching("[a-c]").Draw(t, "config") },
		"a minimum changes":       func(t *rapid.T) { anyClaim(t).Minimum = rapid.Int32Range(0, 20).Draw(t, "minimum") },
		"needs change":            func(t *rapid.T) { drawNeeds(t, d.claims, rapid.Int32Range(0, 40)) },
		"replicas change":         func(t *rapid.T) { anyClaim(t).Replicas = rapid.Int32Range(0, 3).Draw(t, "replicas") },
	}
}

// checkOrderDoesNotMatter: the same facts always give the same bytes.
func checkOrderDoesNotMatter(t *rapid.T, o *operator) {
	facts := o.facts
	facts.Pods = slices.Clone(facts.Pods)
	slices.Reverse(facts.Pods)
	facts.Claims = slices.Clone(facts.Claims)
	slices.Reverse(facts.Claims)
	next, account := budget.Next(o.ledger, facts)
	if diff := cmp.Diff(o.next, next); diff != "" {
		t.Fatalf("the facts in another order give another ledger:\n%s", diff)
	}
	if diff := cmp.Diff(o.account, account); diff != "" {
		t.Fatalf("the facts in another order give another account:\n%s", diff)
	}
}

func TestNoOrderOfEventsBreaksTheBudgetAndCalmLeadsToFairShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		d := &disorder{world: w}
		t.Repeat(d.actions())

		d.leaders, w.reachable = [2]*operator{}, true
		for _, p := range w.pods {
			p.overdue = false
		}
		w.calm(t)
		checkFair(t, w)
	})
}

// drawWorld is a world with pods that have had a while of calm, or have not.
func drawWorld(t *rapid.T) *world {
	claims := drawClaims(t)
	drawNeeds(t, claims, rapid.Int32Range(0, 40))
	w := newWorld(rapid.Int32Range(0, 40).Draw(t, "budget"), claims...)
	for _, c := range claims {
		for range rapid.Int32Range(0, max(c.Replicas, 1)).Draw(t, "pods") {
			w.add(c.Key, rapid.Int64Range(0, 2).Draw(t, "seconds"))
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "rounds before") {
		w.settle()
		w.pass()
	}
	return w
}

// calm runs passes, with nothing new happening, until one writes nothing.
func (w *world) calm(t *rapid.T) {
	const rounds = 60
	for range rounds {
		before := w.writes
		w.settle()
		o := w.pass()
		checkStep(t, o)
		checkWorld(t, w)
		if w.writes == before && w.quiet() {
			return
		}
	}
	t.Fatalf("L1: %d calm rounds do not end in a pass without a write: %s", rounds, w)
}

// quiet is whether every pod has done what it was told. Those of a pool without
// replicas are told nothing.
func (w *world) quiet() bool {
	byUID := entries(w.ledger)
	for _, p := range w.pods {
		e := byUID[p.uid]
		if w.claim(p.pool).Replicas == 0 && !p.terminating && !p.draining {
			continue
		}
		if p.terminating || p.draining || p.gen != e.Gen || p.cap != e.Granted || e.Held != e.Granted {
			return false
		}
	}
	return true
}

func (w *world) String() string {
	text := fmt.Sprintf("budget %d, reachable %t, ledger %+v\n", w.budget, w.reachable, w.ledger)
	for _, c := range w.claims {
		text += fmt.Sprintf("claim %+v\n", c)
	}
	for _, p := range w.pods {
		text += fmt.Sprintf("pod %s of %s, created %d, revision %d: started %t, ready %t, draining %t, terminating %t, terminated %t, overdue %t, number %d, limit %d, connections %d\n",
			p.uid, p.pool.Name, p.created, p.revision, p.started, p.ready, p.draining, p.terminating, p.terminated, p.overdue, p.gen, p.cap, p.current)
	}
	return text
}

// checkFair holds a settled ledger against the shares.
func checkFair(t *rapid.T, w *world) {
	pods, granted := map[budget.PoolKey]int32{}, map[budget.PoolKey]int32{}
	least, most := map[budget.PoolKey]int32{}, map[budget.PoolKey]int32{}
	for _, p := range w.pods {
		pods[p.pool]++
		if p.cap == 0 {
			continue
		}
		granted[p.pool] += p.cap
		most[p.pool] = max(most[p.pool], p.cap)
		if least[p.pool] == 0 || p.cap < least[p.pool] {
			least[p.pool] = p.cap
		}
	}
	var active []budget.Claim
	for _, c := range w.claims {
		if granted[c.Key] > 0 && c.Replicas > 0 {
			active = append(active, c)
		}
		if c.Replicas > 0 && most[c.Key]-least[c.Key] > 1 {
			t.Fatalf("L1: pods of %s have from %d to %d: %s", c.Key.Name, least[c.Key], most[c.Key], w)
		}
	}
	// What pools without replicas still hold goes first; the rest is divided.
	rest := w.budget
	for _, e := range w.ledger.Entries {
		if c := w.claim(entryKey(e)); c.Replicas == 0 {
			rest -= e.Held
			if c.RoleLimit != nil || c.DatabaseLimit != nil || c.Namespace.Maximum > 0 {
				return // It holds under their limits too, which Lent does not know.
			}
		}
	}
	shares := budget.Lent(rest, active, granted, pods)
	for _, c := range active {
		if shares[c.Key] == 0 {
			return // Not even floors fit beside what pools without replicas hold.
		}
	}
	for _, c := range active {
		if granted[c.Key] != shares[c.Key] {
			t.Fatalf("L1: pool %s has %d, its share is %d: %s", c.Key.Name, granted[c.Key], shares[c.Key], w)
		}
	}
	checkWaiting(t, w, active, granted, pods, rest)
}

// checkWaiting: a pool has nothing only where what it starts with does not fit
// beside what those that run are sure of.
func checkWaiting(t *rapid.T, w *world, active []budget.Claim, granted, pods map[budget.PoolKey]int32, rest int32) {
	for _, c := range w.claims {
		if c.Replicas == 0 || pods[c.Key] == 0 || granted[c.Key] > 0 {
			continue
		}
		sure := map[budget.PoolKey]int32{}
		for _, other := range active {
			sure[other.Key] = min(granted[other.Key], max(other.Floor, other.Minimum))
		}
		if left := spare(rest, w.claims, sure, c); left >= least(c) {
			t.Fatalf("pool %s has nothing, and %d are free beside what others are sure of: %s", c.Key.Name, left, w)
		}
	}
}
