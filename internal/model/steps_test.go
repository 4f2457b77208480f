// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"slices"

	"pgregory.net/rapid"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// step is one thing that can happen, and how often it does beside others.
type step struct {
	weight int
	run    func(*chance)
}

// chance is where a run's chances come from.
type chance struct {
	*world
	t *rapid.T
}

func (c *chance) upTo(n int, what string) int { return rapid.IntRange(0, n).Draw(c.t, what) }

func (c *chance) some(what string) int32 { return rapid.Int32Range(1, 5).Draw(c.t, what) }

func pick[T any](c *chance, from []T, what string) (picked T, ok bool) {
	if len(from) == 0 {
		return picked, false
	}
	return rapid.SampledFrom(from).Draw(c.t, what), true
}

// onPod is a step of a pod.
func onPod(weight int, what string, run func(*chance, *pod)) step {
	return step{weight, func(c *chance) {
		if p, ok := pick(c, c.pods, "pod"); ok {
			c.note("%s: %s", p, what)
			run(c, p)
		}
	}}
}

// when is a step of a pod for which it means something.
func when(weight int, is func(*pod) bool, what string, run func(*chance, *pod)) step {
	return step{weight, func(c *chance) {
		them := slices.DeleteFunc(slices.Clone(c.pods), func(p *pod) bool { return !is(p) })
		if p, ok := pick(c, them, "pod"); ok {
			c.note("%s: %s", p, what)
			run(c, p)
		}
	}}
}

// onLeader is a step of a leader.
func onLeader(weight int, run func(*chance, *leader)) step {
	return step{weight, func(c *chance) { run(c, c.leaders[c.upTo(1, "leader")]) }}
}

// onPool is a change of a pool by its owner.
func onPool(weight int, what string, change func(*chance, *poolv1.ConnectionPool)) step {
	return step{weight, func(c *chance) {
		if name, ok := pick(c, c.poolNames(), "pool"); ok {
			c.note("pool %s: %s", name, what)
			c.changePool(name, func(p *poolv1.ConnectionPool) { change(c, p) })
		}
	}}
}

// steps are all that can happen in a world.
func (w *world) steps() []step {
	all := slices.Concat(leaderSteps(), nodeSteps(), clientSteps(), clusterSteps(), serverSteps())
	if w.losesLedger {
		all = append(all, lossSteps()...)
	}
	if w.hostile {
		all = append(all, hostileSteps()...)
	}
	return all
}

// happen has one step happen.
func (c *chance) happen(all []step) {
	total := 0
	for _, s := range all {
		total += s.weight
	}
	n := c.upTo(total-1, "step")
	for _, s := range all {
		if n -= s.weight; n < 0 {
			s.run(c)
			return
		}
	}
}

func leaderSteps() []step {
	return []step{
		onLeader(14, func(c *chance, l *leader) {
			c.note("leader %s catches up and runs a pass", l.name)
			l.catchUpAll()
			l.hearing = 0
			l.finish()
		}),
		onLeader(12, func(c *chance, l *leader) {
			l.hearing = c.upTo(1000, "which answers arrive")
			l.advance(c, c.upTo(12, "calls"), succeeds)
		}),
		onLeader(5, func(c *chance, l *leader) {
			l.advance(c, c.upTo(8, "calls"), outcome(c.upTo(int(callerDiesAfter), "outcome")))
		}),
		onLeader(5, func(c *chance, l *leader) {
			k := rapid.SampledFrom([]kind{upstreams, podsKind, pools}).Draw(c.t, "kind")
			c.note("leader %s catches up on %s alone, and runs a pass", l.name, k)
			l.kill()
			l.catchUp(k, -1)
			l.finish()
		}),
		onLeader(8, func(c *chance, l *leader) {
			k := rapid.SampledFrom([]kind{podsKind, upstreams, pools}).Draw(c.t, "kind")
			n := c.upTo(8, "states")
			c.note("leader %s sees up to %d further states of %s", l.name, n, k)
			l.catchUp(k, n)
		}),
		onLeader(8, func(c *chance, l *leader) {
			if name, ok := pick(c, c.poolNames(), "pool"); ok {
				c.note("leader %s looks at the server for %s", l.name, name)
				l.look(poolKey(name))
			}
		}),
		onLeader(2, func(c *chance, l *leader) {
			lag := c.upTo(10, "lag")
			c.note("leader %s starts anew, %d states behind", l.name, lag)
			l.restart(lag)
		}),
		{2, func(c *chance) {
			if len(c.wire) > 0 {
				late := c.wire[0]
				c.wire = c.wire[1:]
				c.note("a late write arrives: %v", late())
			}
		}},
		{3, func(c *chance) {
			n := rapid.SampledFrom([]int{1, 10, 70, 400}).Draw(c.t, "seconds")
			c.note("%d seconds pass", n)
			c.seconds += int64(n)
		}},
	}
}

// advance lets up to n calls of a pass happen; what becomes of the last is o.
func (l *leader) advance(c *chance, n int, o outcome) {
	if l.pass == nil {
		c.note("leader %s begins a pass", l.name)
		l.begin()
	}
	for ; n > 0 && l.pass != nil; n-- {
		l.tell(c, succeeds)
	}
	if l.pass != nil {
		l.tell(c, o)
	}
	if o == callerDies || o == callerDiesAfter {
		l.restart(0)
	}
}

func (l *leader) tell(c *chance, o outcome) {
	c.note("leader %s: %s%s", l.name, l.pass.op, outcomes[o])
	l.proceed(o)
}

func nodeSteps() []step {
	return []step{
		onPod(24, "its node and its pooler do all there is to do", func(_ *chance, p *pod) {
			p.started = true
			p.restart()
			p.refresh()
			p.act()
			p.report()
		}),
		onPod(4, "its container starts", func(_ *chance, p *pod) { p.started = true; p.restart() }),
		onPod(6, "its files are refreshed", func(_ *chance, p *pod) { p.refresh() }),
		onPod(8, "its pooler takes a step", func(_ *chance, p *pod) { p.act() }),
		onPod(6, "its node reports", func(_ *chance, p *pod) { p.report() }),
		onPod(4, "its files are refreshed by a node that is behind", func(c *chance, p *pod) { p.refreshLate(c.upTo(20, "states")) }),
		when(6, (*pod).terminating, "its end comes nearer", func(_ *chance, p *pod) { p.terminate() }),
		when(6, (*pod).draining, "it drains", func(_ *chance, p *pod) { p.drain() }),
		when(3, (*pod).down, "its container starts again", func(_ *chance, p *pod) { p.restart() }),
		onPod(1, "its container is told to end", func(_ *chance, p *pod) { p.sigterm() }),
		when(3, (*pod).busy, "its container is told to end", func(_ *chance, p *pod) { p.sigterm() }),
		onPod(1, "its PgBouncer is killed", func(_ *chance, p *pod) { p.exit() }),
		onPod(1, "its container is killed", func(_ *chance, p *pod) {
			if p.started {
				p.exit()
				p.told, p.ended = false, true
			}
		}),
	}
}

func clientSteps() []step {
	return []step{
		onPod(10, "clients use it", func(c *chance, p *pod) {
			n := c.some("connections")
			p.connect(n)
			for range n {
				p.countIn()
			}
			p.begin(n)
		}),
		onPod(4, "logins begin", func(c *chance, p *pod) { p.connect(c.some("logins")) }),
		onPod(4, "a login counts itself in", func(_ *chance, p *pod) { p.countIn() }),
		onPod(6, "transactions end", func(c *chance, p *pod) { p.finish(c.some("transactions")) }),
		onPod(3, "clients vanish in the middle of a query", func(c *chance, p *pod) { p.vanish(c.some("clients")) }),
		onPod(3, "its clients' demand changes", func(c *chance, p *pod) {
			p.peak, p.starved = rapid.Int32Range(0, 10).Draw(c.t, "peak"), rapid.Int32Range(0, 3).Draw(c.t, "starved")
		}),
		{4, func(c *chance) {
			c.note("backends without a client end")
			c.server.orphans -= min(c.server.orphans, c.some("backends"))
		}},
	}
}
