// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

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
		when(4, (*pod).over, "it is gone, and another of its name is made", func(c *chance, p *pod) {
			c.api.commit(podsKind, p.key, nil)
			c.newPod(p.pool, p.key.Name, nil)
		}),
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
		onPool(2, "its pods are to be replaced", func(c *chance, p *poolv1.ConnectionPool) {
			c.templates[p.Name]++
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

// loses marks the pods that the ledger no longer knows enough of. A pass that has
// written what was then lost does not get to tell it to pods: against that, admission
// is the defence.
func (w *world) loses(loss func()) {
	for _, l := range w.leaders {
		l.kill()
	}
	w.wire = nil
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
