// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
		onPod(8, "its end comes nearer", func(_ *chance, p *pod) { p.terminate() }),
		onPod(8, "it drains", func(_ *chance, p *pod) { p.drain() }),
		onPod(2, "its container is told to end", func(_ *chance, p *pod) { p.sigterm() }),
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

func clusterSteps() []step {
	return []step{
		{12, func(c *chance) {
			if name, ok := pick(c, c.poolNames(), "pool"); ok && len(c.pods) < 7 {
				// Few names, so that they come back.
				c.note("pod %v is made", c.newPod(name, fmt.Sprint(name, "-", c.upTo(2, "name")), nil))
			}
		}},
		onPod(7, "it is deleted", func(_ *chance, p *pod) { p.delete() }),
		onPod(2, "it is evicted", func(_ *chance, p *pod) { p.evict() }),
		onPod(2, "it is copied", func(c *chance, p *pod) {
			if len(c.pods) < 7 {
				c.newPod(p.pool, p.key.Name+"-copy", p)
			}
		}),
		onPod(1, "its annotation is edited by hand", func(c *chance, p *pod) {
			if c.losesLedger {
				return // Who takes both words of a grant away takes away what there is to rebuild from.
			}
			text := rapid.SampledFrom([]string{"", "{", `{"uid":"` + p.uid + `","gen":-1,"share":9,"config":"c0"}`}).Draw(c.t, "annotation")
			p.change(func(o *corev1.Pod) { o.Annotations[poolv1.GrantAnnotation] = text })
		}),
		onPool(2, "its weight changes", func(c *chance, p *poolv1.ConnectionPool) {
			p.Spec.ServerConnections.Weight = rapid.Int32Range(1, 300).Draw(c.t, "weight")
		}),
		onPool(1, "its maximum changes", func(c *chance, p *poolv1.ConnectionPool) {
			p.Spec.ServerConnections.Maximum = rapid.Int32Range(0, 20).Draw(c.t, "maximum")
		}),
		onPool(1, "its minimum changes", func(c *chance, p *poolv1.ConnectionPool) {
			p.Spec.ServerConnections.Minimum = rapid.Int32Range(0, 12).Draw(c.t, "minimum")
		}),
		onPool(1, "its replicas change", func(c *chance, p *poolv1.ConnectionPool) {
			p.Spec.Replicas = new(rapid.Int32Range(0, 3).Draw(c.t, "replicas"))
		}),
		onPool(2, "its configuration changes", func(c *chance, p *poolv1.ConnectionPool) {
			c.configs++
			p.Status.ConfigRevision = fmt.Sprint("c", c.configs)
		}),
		{1, func(c *chance) {
			if name, ok := pick(c, c.poolNames(), "pool"); ok && len(c.poolNames()) > 1 {
				c.note("pool %s is deleted, its pods stay for now", name)
				c.api.commit(pools, poolKey(name), nil)
			}
		}},
		{2, func(c *chance) { c.makeUpstream() }},
	}
}

func serverSteps() []step {
	return []step{
		{2, func(c *chance) {
			c.server.up = !c.server.up
			c.note("the server is up: %t", c.server.up)
		}},
		{2, func(c *chance) {
			n := rapid.Int32Range(6, 45).Draw(c.t, "max_connections")
			c.note("the server restarts with %d connections", n)
			c.server.restart(n)
		}},
		{2, func(c *chance) {
			n := rapid.Int32Range(0, 30).Draw(c.t, "ceiling")
			c.note("the administrator sets a ceiling of %d", n)
			c.api.change(upstreams, types.NamespacedName{Name: upstreamName}, func(o client.Object) {
				as[*poolv1.Upstream](o).Spec.MaxServerConnections = n
			})
		}},
		{3, func(c *chance) {
			s := &c.server
			if n := min(c.some("sessions"), s.slots()-s.backends()); n > 0 && s.up {
				c.note("%d others connect", n)
				s.others += n
			}
		}},
		{2, func(c *chance) { c.server.others = 0 }},
	}
}

func lossSteps() []step {
	return []step{
		{1, func(c *chance) {
			c.note("the ledger is dropped")
			c.lose(poolv1.UpstreamStatus{})
		}},
		{1, func(c *chance) {
			if old, ok := pick(c, c.backups, "backup"); ok {
				c.note("the ledger is put back from a copy of number %d", value(old.LedgerGeneration))
				c.lose(*old.DeepCopy())
			}
		}},
		{1, func(c *chance) {
			c.note("the Upstream is removed by hand, and made again")
			c.loses(func() {
				c.api.commit(upstreams, types.NamespacedName{Name: upstreamName}, nil)
				c.makeUpstream()
			})
		}},
		{3, func(c *chance) { c.backups = append(c.backups, *c.upstream().Status.DeepCopy()) }},
	}
}

func (w *world) lose(status poolv1.UpstreamStatus) {
	w.loses(func() {
		w.api.change(upstreams, types.NamespacedName{Name: upstreamName}, func(o client.Object) {
			as[*poolv1.Upstream](o).Status = status
		})
	})
}

// loses marks the pods that the ledger no longer knows enough of.
func (w *world) loses(loss func()) {
	loss()
	held := heldBy(w.upstream().Status.Ledger)
	for _, p := range w.pods {
		p.accounted = p.accounted && p.most() <= held[p.uid]
	}
}

func hostileSteps() []step {
	return []step{
		onPod(2, "its node is cut off or is back", func(_ *chance, p *pod) { p.cutOff = !p.cutOff }),
		onPod(3, "it is deleted by force, and its process lives on", func(c *chance, p *pod) {
			if p.object() != nil {
				c.api.commit(podsKind, p.key, nil)
			}
		}),
		onPod(2, "a node without its object ends its process", func(_ *chance, p *pod) {
			if p.object() == nil && !p.cutOff {
				p.exit()
				p.ended = true
			}
		}),
		onPod(1, "its node starts anew", func(_ *chance, p *pod) {
			p.exit()
			p.memory, p.told, p.ended = memory{}, false, p.terminating() || p.failed()
			p.refresh()
		}),
	}
}

// run is one run: a world, what happens in it, and how it calms down. It returns
// what did not hold, with how it came to it; empty if all held.
func run(t *rapid.T, env environment, m mutant, fail func(string)) string {
	w := newWorld(env, m, rapid.Int32Range(8, 45).Draw(t, "max_connections"))
	defer w.close()
	c := &chance{w, t}
	c.begin()
	all := w.steps()
	report := func() string {
		if w.broken == "" {
			return ""
		}
		return strings.Join([]string{w.broken, w.String()}, "\n")
	}
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) {
		if w.broken != "" {
			return
		}
		c.t = t
		c.happen(all)
		w.check()
		if w.broken != "" {
			fail(report())
		}
	}})
	if w.broken == "" {
		w.calm(c)
	}
	return report()
}

// begin makes the pools, and a few pods of each.
func (c *chance) begin() {
	for i := range 1 + c.upTo(2, "further pools") {
		name := string(rune('a' + i))
		c.addPool(name, rapid.Int32Range(1, 3).Draw(c.t, "replicas"), rapid.Int32Range(1, 3).Draw(c.t, "databases"), poolv1.ServerConnections{
			Weight: rapid.SampledFrom([]int32{0, 100, 300}).Draw(c.t, "weight"),
		})
		for n := range c.upTo(2, "pods") {
			p := c.newPod(name, fmt.Sprint(name, "-", n), nil)
			p.started = true
			p.refresh()
			p.report()
		}
		for _, l := range c.leaders {
			l.look(poolKey(name))
		}
	}
	c.note("pools %v with %d pods, %d connections", c.poolNames(), len(c.pods), c.server.max)
}
