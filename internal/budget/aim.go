// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"slices"
)

// group is a pool in a pass.
type group struct {
	claim Claim
	// candidates are the pods that a grant can serve: those that have one, and those
	// that could start.
	candidates []*seat
	// base is what pods hold that no grant can change; late is the part of it whose
	// pods should be gone and are not.
	base, late int32
	// coming is how many pods are about to be candidates.
	coming int32
	// now is what the candidates may open.
	now int32
	// held is what all its pods may hold, entries whether any of them has an entry.
	held    int32
	entries bool
}

func (g *group) standing() standing {
	switch {
	case g.held > 0:
		return serving
	case g.entries:
		return parked
	default:
		return fresh
	}
}

// aim sets each seat's target.
func (p *pass) aim() {
	groups := p.groups()
	bids := make([]*bid, 0, len(groups))
	for key, g := range groups {
		bids = append(bids, p.bid(key, g))
	}
	division := divide(p.facts.Budget, bids)
	division.lend()
	shares := division.live()
	for key, g := range groups {
		if p.facts.Reachable {
			g.aim(shares[key])
		} else {
			g.cut(shares[key])
		}
	}
}

// groups sorts the seats by pool, in the order of the seats. A seat that is left
// alone has its own grant for a target.
func (p *pass) groups() map[PoolKey]*group {
	groups := make(map[PoolKey]*group, len(p.claims))
	for key, c := range p.claims {
		groups[key] = &group{claim: c}
	}
	for _, s := range p.seats {
		g := groups[s.key()]
		if g == nil {
			g = &group{}
			groups[s.key()] = g
		}
		p.join(g, s)
	}
	return groups
}

// join counts a seat into its group, for what it is to it.
func (p *pass) join(g *group, s *seat) {
	g.entries = g.entries || s.known
	g.held += s.Held
	switch {
	case !p.steerable(s):
		s.target = s.now()
		g.base += s.Held
		if s.pod != nil && s.pod.Terminating && s.pod.Overdue {
			g.late += s.Held
		}
	case s.now() > 0 || p.startable(s):
		g.candidates = append(g.candidates, s)
		g.now += s.now()
	case s.pod.Pending && s.pod.Coming:
		g.coming++
	}
}

// startable is whether a pod without a grant can use one now.
func (p *pass) startable(s *seat) bool {
	return p.facts.Reachable && !s.pod.Pending && (s.known || !p.addressTaken(s))
}

// addressTaken is whether a pod that still has an entry shows the same address:
// until it is gone, answers from there and connections at the server are not clear.
func (p *pass) addressTaken(s *seat) bool {
	return s.pod.Address != "" && slices.ContainsFunc(p.seats, func(other *seat) bool {
		return other != s && other.known && other.pod != nil && other.pod.Address == s.pod.Address
	})
}

// bid is what a pool can use now. One that has no pod to use a share lends it to
// the others until a pod can start.
func (p *pass) bid(key PoolKey, g *group) *bid {
	b := &bid{Claim: g.claim, standing: g.standing(), has: g.now, pods: g.pods(), base: g.base}
	b.Key = key
	if len(g.candidates) == 0 && !g.entries {
		b.Replicas = 0
	}
	if !p.facts.Reachable {
		b.freeze()
	}
	return b
}

// pods is how many of the pool's pods a grant could serve now or in a moment.
func (g *group) pods() int32 {
	return int32(len(g.candidates)) + g.coming //nolint:gosec // A pool's pods are a few hundred.
}

// freeze is the bid while the server is silent: what the pods have, loans included,
// and no more. Floors are for pods that start, and none does.
func (b *bid) freeze() {
	b.Floor, b.Need = 1, nil
	if b.Maximum == 0 {
		b.Maximum = b.has + b.base
	}
	b.Maximum = min(b.Maximum, b.has+b.base)
	if b.has == 0 {
		b.Replicas = 0
	}
}

// aim divides share over the pool's candidates.
func (g *group) aim(share int32) {
	if len(g.candidates) == 0 {
		return
	}
	floor := g.claim.Floor
	split(choose(g.candidates, int(share/floor), int((share+g.base-g.late)/floor)), share)
	g.spare(share)
}

// spare keeps raises out of what the pods that are coming will get.
func (g *group) spare(share int32) {
	soon := min(g.pods(), share/g.claim.Floor)
	if g.coming == 0 || soon == 0 {
		return
	}
	for _, s := range g.candidates {
		s.target = min(s.target, max(s.now(), part(share, soon, 0)))
	}
}

// cut leaves the candidates what they have, unless share is less: nothing can be
// raised, so nothing is taken from one for another.
func (g *group) cut(share int32) {
	keeps := g.now <= share
	if !keeps {
		g.aim(share)
	}
	for _, s := range g.candidates {
		if keeps || s.target > s.now() {
			s.target = s.now()
		}
	}
}

// split divides live over the seated, evenly. Who has one more keeps it, so that
// rounding moves no connection.
func split(seated []*seat, live int32) {
	n := int32(len(seated)) //nolint:gosec // A pool's pods are a few hundred.
	if n == 0 {
		return
	}
	order := slices.Clone(seated)
	slices.SortFunc(order, func(a, b *seat) int {
		return cmp.Or(-compareBool(a.now() > live/n, b.now() > live/n), compareEntries(a.Entry, b.Entry))
	})
	for i, s := range order {
		s.target = part(live, n, int32(i))
	}
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
