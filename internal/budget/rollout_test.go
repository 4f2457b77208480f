// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// Rounds, in place of a clock.
const (
	patience     = 8
	secondChance = 60
)

// fleet is a world with a Deployment for each pool: maxSurge 1, maxUnavailable 0,
// and as many replicas as the pool is entitled to floors for.
type fleet struct {
	*world
	rounds int
	// revision of the template, and those whose pods never become ready.
	revision int
	bad      map[int]bool
	// retry is whether a pod that failed gets another try, every secondChance rounds.
	retry bool
	// restless is whether needs change.
	restless bool
	// lives is how many rounds a pod that is to end still takes.
	lives map[string]int
	// unready is for how many rounds a pod has had a grant and has not been ready.
	unready map[string]int
	// late is for how many rounds a pod has not done what it was told.
	late map[string]int
}

func newFleet(w *world) *fleet {
	return &fleet{world: w, bad: map[int]bool{}, lives: map[string]int{}, unready: map[string]int{}, late: map[string]int{}}
}

// replicas is what the pool's Deployment is told, from the account of the last pass.
func (f *fleet) replicas(key budget.PoolKey) int {
	c := f.claim(key)
	for _, a := range f.account.Pools {
		if a.Key == key {
			return int(budget.PodsThatFit(a.Entitled, a.Floor, c.Replicas))
		}
	}
	return 0
}

func (f *fleet) livePods(key budget.PoolKey) (newer, older []*pod) {
	for _, p := range f.pods {
		switch {
		case p.pool != key || p.terminating:
		case p.revision == f.revision:
			newer = append(newer, p)
		default:
			older = append(older, p)
		}
	}
	return newer, older
}

func unreadyPods(pods []*pod) (n int) {
	for _, p := range pods {
		if !p.ready {
			n++
		}
	}
	return n
}

// deploy is one step of the Deployment controller.
func (f *fleet) deploy(t *rapid.T, key budget.PoolKey) {
	replicas := f.replicas(key)
	newer, older := f.livePods(key)
	if len(newer) < replicas && len(newer)+len(older) < replicas+1 {
		p := f.add(key, 0)
		p.revision = f.revision
		f.lives[p.uid] = rapid.IntRange(0, 5).Draw(t, "rounds to drain")
	}
	remove(newer, len(newer)-replicas)
	// Unready pods of older revisions go first, then ready ones beyond the replicas.
	spare := len(newer) + len(older) - replicas - unreadyPods(newer)
	gone := remove(older, min(spare, unreadyPods(older)))
	ready := len(newer) + len(older) - unreadyPods(newer) - unreadyPods(older)
	remove(older, min(spare-gone, ready-replicas))
}

// remove tells n pods to end, the unready ones first.
func remove(pods []*pod, n int) int {
	order := slices.Clone(pods)
	slices.SortStableFunc(order, func(a, b *pod) int {
		if a.ready == b.ready {
			return 0
		}
		if b.ready {
			return -1
		}
		return 1
	})
	order = slices.DeleteFunc(order, func(p *pod) bool { return p.terminating })
	n = max(0, min(n, len(order)))
	for _, p := range order[:n] {
		p.terminating, p.draining = true, p.started
	}
	return n
}

// round is half a second of a cluster's life: a rollout can begin in the second in
// which the pods were made that it replaces.
func (f *fleet) round(t *rapid.T) {
	f.rounds++
	f.clock = int64(f.rounds / 2)
	for _, c := range f.claims {
		f.deploy(t, c.Key)
	}
	for _, p := range slices.Clone(f.pods) {
		f.live(t, p)
	}
	if f.restless && rapid.IntRange(0, 9).Draw(t, "do needs change") == 0 {
		drawNeeds(t, f.claims, rapid.Int32Range(0, 30))
	}
	o := f.pass()
	checkStep(t, o)
	checkWorld(t, f.world)
	checkPodsStay(t, f.world)
}

// checkPodsStay: what is lent never costs a pool one of its pods.
func checkPodsStay(t *rapid.T, w *world) {
	for _, a := range w.account.Pools {
		replicas := w.claim(a.Key).Replicas
		if of := budget.PodsThatFit(a.Entitled, a.Floor, replicas); budget.PodsThatFit(a.Share, a.Floor, replicas) < of {
			t.Fatalf("pool %s is entitled to %d pods, and its share of %d can not serve them: %s", a.Key.Name, of, a.Share, w)
		}
	}
}

func (f *fleet) live(t *rapid.T, p *pod) {
	switch {
	case p.terminated:
		f.remove(p)
		return
	case p.terminating && f.lives[p.uid] > 0:
		f.lives[p.uid]--
		p.ready = false
		if p.cap > 0 {
			p.drain(1)
		}
		return
	case p.terminating:
		p.end()
		return
	}
	p.started = true
	p.refresh()
	if f.late[p.uid]++; f.late[p.uid] > 3 || rapid.IntRange(0, 3).Draw(t, "does it act") > 0 {
		f.late[p.uid] = 0
		p.obey()
		p.letGo(p.current - p.cap)
		p.open(p.cap)
	}
	p.ready = p.cap > 0 && !f.bad[p.revision]
	switch {
	case p.ready:
		f.unready[p.uid] = 0
	case entries(f.ledger)[p.uid].Granted > 0 || f.unready[p.uid] > patience:
		f.unready[p.uid]++
	}
	age := f.unready[p.uid]
	if f.retry {
		age %= secondChance
	}
	p.overdue = age > patience
}

// rolledOut is whether every pool runs its replicas, all of the newest revision and ready.
func (f *fleet) rolledOut() bool {
	for _, c := range f.claims {
		newer, older := f.livePods(c.Key)
		if len(older) > 0 || unreadyPods(newer) > 0 || len(newer) != f.replicas(c.Key) {
			return false
		}
	}
	return !slices.ContainsFunc(f.pods, func(p *pod) bool { return p.terminating })
}

func (f *fleet) rollOut(t *rapid.T, what string) {
	const rounds = 600
	for range rounds {
		if f.round(t); f.rolledOut() {
			return
		}
	}
	t.Fatalf("L2: %s does not end: %s%+v", what, f.world, f.account)
}

func (f *fleet) serving(key budget.PoolKey) (n int) {
	for _, p := range f.pods {
		if p.pool == key && p.ready {
			n++
		}
	}
	return n
}

func drawFleet(t *rapid.T) *fleet {
	var claims []budget.Claim
	jobs := drawNamespace(t)
	for i := range rapid.IntRange(1, 3).Draw(t, "pools") {
		c := aPool(string(rune('a'+i)), weighing(rapid.Int32Range(1, 300).Draw(t, "weight")),
			floor(rapid.Int32Range(1, 3).Draw(t, "floor")), replicas(rapid.Int32Range(1, 4).Draw(t, "replicas")))
		if rapid.Bool().Draw(t, "has a maximum") {
			c.Maximum = rapid.Int32Range(c.Floor, 12).Draw(t, "maximum")
		}
		if rapid.Bool().Draw(t, "has a role limit") {
			c.RoleLimit = &budget.Limit{Key: "app", Connections: 12}
		}
		if rapid.Bool().Draw(t, "has a minimum") {
			c.Minimum = rapid.Int32Range(1, 10).Draw(t, "minimum")
		}
		if rapid.Bool().Draw(t, "is it of another namespace") {
			c.Key.Namespace, c.Namespace = "jobs", jobs
		}
		claims = append(claims, c)
	}
	drawNeeds(t, claims, rapid.Int32Range(0, 30))
	f := newFleet(newWorld(rapid.Int32Range(9, 24).Draw(t, "budget"), claims...))
	f.pass() // So that the Deployments know their replicas.
	return f
}

func TestEveryRolloutEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFleet(t)
		f.retry, f.restless = true, true
		f.rollOut(t, "the first rollout")
		for range 2 {
			f.revision++
			f.rollOut(t, "a rollout")
		}
		f.calm(t)
		checkFair(t, f.world)
		writes := f.writes
		f.pass()
		if f.writes != writes {
			t.Fatalf("needs stay, and there is a write: %s", f.world)
		}
	})
}

func TestARolloutThatNeverGetsReadyCostsNoPodForLongAndTheNextOneEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFleet(t)
		f.rollOut(t, "the first rollout")
		f.revision++
		f.bad[f.revision] = true
		for range 12 * patience {
			f.round(t)
		}
		writes := f.writes
		for range patience {
			f.round(t)
			for _, c := range f.claims {
				if got, want := f.serving(c.Key), f.replicas(c.Key); got != want {
					t.Fatalf("%d pods of %s serve beside a rollout that failed, want %d: %s", got, c.Key.Name, want, f.world)
				}
			}
		}
		if f.writes != writes {
			t.Fatalf("a rollout that failed goes back and forth: %s", f.world)
		}
		f.revision++
		f.rollOut(t, "the rollout that mends it")
	})
}

func TestARolloutEndsWhereEachPodHasItsFloorAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		each := rapid.Int32Range(1, 3).Draw(t, "floor")
		pods := rapid.Int32Range(1, 4).Draw(t, "replicas")
		f := newFleet(newWorld(each*pods, aPool("shop", floor(each), replicas(pods))))
		f.pass()
		f.rollOut(t, "the first rollout")
		f.revision++
		for range 100 {
			f.round(t)
			if got := f.serving(key("shop")); got < int(pods)-1 {
				t.Fatalf("%d of %d pods serve during a rollout: more than one at a time makes way: %s", got, pods, f.world)
			}
			if f.rolledOut() {
				return
			}
		}
		t.Fatalf("L2: the rollout does not end: %s", f.world)
	})
}
