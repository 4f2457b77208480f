// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/identity"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// standing is what a pass found out about which server an Upstream is.
type standing struct {
	// identity is the server that it is. Looks at others do not count.
	identity postgres.Identity
	// hold is true while looks contradict what is written, or another Upstream seems to
	// be the same server: nothing is raised before that is decided.
	hold bool
	// twins have proved to be this server and are to empty into this Upstream.
	twins []*poolv1.Upstream
	// guests are emptying into this Upstream: what they hold is held at this server.
	guests []guest
	// into is the Upstream that this one empties into; it is nil where that is gone.
	merged bool
	into   *poolv1.Upstream
	limit  int32
	why    string
}

// guest is an Upstream that is emptying into another. What it holds only falls.
type guest struct {
	name        string
	held, limit int32
}

// identify finds out which server an Upstream is, and which others are it, too.
func (r *BudgetReconciler) identify(ctx context.Context, upstream *poolv1.Upstream, s *sighting) error {
	v, err := readServers(ctx, r.Client, r.Records, s.now)
	if err != nil {
		return err
	}
	s.identity.identity = identityOf(upstream)
	if merged(upstream) {
		s.empty(v, upstream)
		return nil
	}
	verdict := v.judge(upstream)
	s.identity.identity = verdict.Identity
	if !verdict.Settled() {
		s.identity.hold, s.identity.why = true, "its addresses lead to different servers: each is looked at again, and nothing is raised before it is clear which pools move"
		v.ask(ctx, r.Signals, verdict.Ask)
		r.wake(ctx, v, upstream.Name, verdict.Leave)
	}
	s.identity.guests = v.guestsOf(upstream, valueOr(upstream.Status.Capacity.Budget, 0))
	r.findTwins(ctx, v, upstream, s)
	return nil
}

// wake has the pools at these endpoints leave.
func (r *BudgetReconciler) wake(ctx context.Context, v *servers, upstream string, endpoints []string) {
	for i := range v.pools {
		endpoint, ok := memberEndpoint(r.Records, &v.pools[i], upstream)
		if ok && slices.Contains(endpoints, endpoint) {
			r.Signals.Pool(ctx, client.ObjectKeyFromObject(&v.pools[i]))
		}
	}
}

// findTwins looks for other Upstreams of the same server.
func (r *BudgetReconciler) findTwins(ctx context.Context, v *servers, upstream *poolv1.Upstream, s *sighting) {
	nobody, settled := types.NamespacedName{}, !s.identity.hold
	for i := range v.upstreams {
		other := &v.upstreams[i]
		if !s.twinOf(upstream, other) {
			continue
		}
		ours, theirs := v.sights(upstream, nobody), v.sights(other, nobody)
		proof, ask := identity.Compare(ours, theirs, s.now)
		abandoned := len(theirs) == 0 && len(other.Status.Pools) == 0
		another := proof == identity.Different && !abandoned && !r.justLeft(other, theirs)
		if len(ours) == 0 || another {
			continue
		}
		switch {
		case proof == identity.Undecided:
			v.ask(ctx, r.Signals, ask)
		case settled && (abandoned || elder(upstream, other)):
			// Nobody looks at an abandoned one, and nobody raises there. What it was is what its
			// entries hold.
			s.identity.twins = append(s.identity.twins, other)
		}
		s.identity.hold, s.identity.why = true, fmt.Sprintf("Upstream %s seems to be the same server: nothing is raised before that is clear", other.Name)
		r.Signals.Upstream(ctx, other.Name)
	}
}

// twinOf reports whether another Upstream is written to be the same server.
func (s *sighting) twinOf(upstream, other *poolv1.Upstream) bool {
	return other.Name != upstream.Name && !merged(other) && identityOf(other).Same(s.identity.identity)
}

// justLeft reports whether the pools of an Upstream have moved on and its account does
// not say so yet: it is about to be abandoned, and its pods hold what they hold.
func (r *BudgetReconciler) justLeft(u *poolv1.Upstream, sights []identity.Sight) bool {
	return len(sights) == 0 && slices.ContainsFunc(u.Status.Pools, func(a poolv1.PoolAccount) bool { return r.watches(a.Namespace) })
}

// unite marks the Upstreams that are to empty into this one. It is this Upstream's
// own pass that does, so none of its passes after the mark can have missed it.
func (r *BudgetReconciler) unite(ctx context.Context, upstream *poolv1.Upstream, s *sighting) error {
	for _, twin := range s.identity.twins {
		marked := twin.DeepCopy()
		if marked.Annotations == nil {
			marked.Annotations = map[string]string{}
		}
		marked.Annotations[mergedAnnotation] = upstream.Name
		// The resourceVersion that was read goes along: a raise that was written there
		// meanwhile makes this a conflict, and a raise after this one.
		if err := r.Update(ctx, marked); err != nil {
			return fmt.Errorf("marking upstream %s as the same server as %s: %w", twin.Name, upstream.Name, err)
		}
		log.FromContext(ctx).Info("Two upstreams are one server", "upstream", klog.KObj(upstream), "other", klog.KObj(twin))
		r.Recorder.Eventf(twin, upstream, corev1.EventTypeNormal, poolv1.EventMerged, "Unite",
			"This is the same server as Upstream %s: the pools move there, and what their pods hold counts there until they are gone", upstream.Name)
		r.Signals.Upstream(ctx, twin.Name)
	}
	return nil
}

// guestsOf are the Upstreams that are emptying into one. Each may keep an even part
// of the budget, so that the pods that take over find room beside those that go.
func (v *servers) guestsOf(u *poolv1.Upstream, budget int32) []guest {
	var out []guest
	for i := range v.upstreams {
		other := &v.upstreams[i]
		if n := held(other.Status.Ledger); n > 0 && merged(other) && v.into(other) == v.named(u.Name) {
			out = append(out, guest{name: other.Name, held: n})
		}
	}
	for i := range out {
		out[i].limit = budget / int32(len(out)+1) //nolint:gosec // Upstreams are a few.
	}
	return out
}

// empty is the pass of an Upstream that empties into another. The pools whose pods
// still hold connections here keep a claim on it, so that they can be shrunk.
func (s *sighting) empty(v *servers, upstream *poolv1.Upstream) {
	s.identity.merged, s.identity.into = true, v.into(upstream)
	for i := range v.pools {
		pool := &v.pools[i]
		holds := slices.ContainsFunc(upstream.Status.Ledger, func(e poolv1.LedgerEntry) bool {
			return e.Namespace == pool.Namespace && e.Pool == pool.Name
		})
		if holds && upstreamOf(v.records, pool) != upstream.Name {
			s.pools = append(s.pools, *pool)
		}
	}
	slices.SortFunc(s.pools, func(a, b poolv1.ConnectionPool) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	if s.identity.into == nil {
		return
	}
	for _, g := range v.guestsOf(s.identity.into, valueOr(s.identity.into.Status.Capacity.Budget, 0)) {
		if g.name == upstream.Name {
			s.identity.limit = g.limit
		}
	}
}

// restrict takes out of the facts what is held at the server under another name,
// and lets nothing be raised while it is not clear which server it is.
func (s *sighting) restrict() {
	if s.identity.merged || s.identity.hold {
		s.facts.Reachable = false
	}
	if s.identity.merged && s.identity.into != nil {
		s.facts.Budget = s.identity.limit
	}
	for _, g := range s.identity.guests {
		kept := min(g.held, g.limit)
		s.facts.Budget -= kept
		s.facts.Unattributed += g.held - kept
	}
}

// guestsHold is what other Upstreams that are this server hold.
func (s *sighting) guestsHold() (sum int32) {
	for _, g := range s.identity.guests {
		sum += g.held
	}
	return sum
}

// passing reports whether the pass found something that is over in a moment.
func (w standing) passing() bool { return w.hold || w.merged || len(w.guests) > 0 }

// counts reports whether a look is at the Upstream's server.
func (w standing) counts(o postgres.Observation) bool {
	return o.MaxConnections == 0 || identity.Still(o.Identity(), w.identity)
}

// lines tell in words what is under way.
func (w standing) lines() []string {
	var lines []string
	if w.why != "" {
		lines = append(lines, w.why)
	}
	switch {
	case w.merged && w.into != nil:
		lines = append(lines, fmt.Sprintf("this is the same server as Upstream %s: the pools move there, and spec counts no more", w.into.Name))
	case w.merged:
		lines = append(lines, "the Upstream that this one emptied into is gone: nothing is raised here any more")
	}
	for _, g := range w.guests {
		lines = append(lines, fmt.Sprintf("-%d that pods hold under Upstream %s, which is the same server and empties into this one", g.held, g.name))
	}
	return lines
}

// endpoints are the addresses under which pools name this server; without a pool,
// those under which the last did.
func (r *BudgetReconciler) endpoints(upstream *poolv1.Upstream, s *sighting) []poolv1.ServerEndpoint {
	set := map[string]bool{}
	for i := range s.pools {
		if endpoint, ok := memberEndpoint(r.Records, &s.pools[i], upstream.Name); ok {
			set[endpoint] = true
		}
	}
	delete(set, "")
	if len(set) == 0 || len(s.foreignAccounts) > 0 {
		for _, e := range upstream.Status.Endpoints {
			set[e.Address] = true
		}
	}
	first := upstream.Annotations[endpointAnnotation]
	if len(set) == 0 && first != "" {
		set[first] = true
	}
	out := make([]poolv1.ServerEndpoint, 0, len(set))
	for address := range set {
		out = append(out, poolv1.ServerEndpoint{Address: address})
	}
	// The one it was made for leads: it gave the name.
	slices.SortFunc(out, func(a, b poolv1.ServerEndpoint) int {
		if (a.Address == first) != (b.Address == first) {
			if a.Address == first {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Address, b.Address)
	})
	return out[:min(len(out), maxEndpoints)]
}

// maxEndpoints is what the API takes.
const maxEndpoints = 64
