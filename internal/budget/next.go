// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"slices"
)

// Next takes one step of the protocol: it frees what the facts prove gone, lowers
// held where a pod acknowledged, shrinks grants at once, and raises grants only
// into connections that nobody can hold. After every step, and after a crash
// between any two, the sum of held is within the budget or falling.
//
// The ledger it returns is to be written, by compare-and-swap, before any pod is
// told; a ledger equal to the one given means that there is nothing to write.
func Next(ledger Ledger, facts Facts) (Ledger, Account) {
	p := newPass(ledger, facts)
	for _, s := range p.seats {
		p.mend(s)
		s.release()
	}
	p.aim()
	p.shrink()
	p.raise()
	p.renew()
	p.numberPeers()
	return p.ledger(), p.account()
}

// seat is one pod in a pass: its entry as it changes, and what was seen of it.
type seat struct {
	Entry
	// pod is nil where an entry's pod was not seen; that alone proves nothing.
	pod *Pod
	// known is whether the pod has an entry already.
	known bool
	// changed entries get a new number; edited ones must, because their pod was told
	// something else under the one they have.
	changed, edited bool
	// target is what the seat should come to.
	target int32
}

// pass is one call of Next.
type pass struct {
	facts  Facts
	given  Ledger
	gen    int64
	claims map[PoolKey]Claim
	// seats are in the ledger's order.
	seats []*seat
}

func newPass(ledger Ledger, facts Facts) *pass {
	facts.Budget = max(facts.Budget, 0)
	p := &pass{facts: facts, given: ledger, gen: ledger.Gen, claims: make(map[PoolKey]Claim, len(facts.Claims))}
	for _, c := range facts.Claims {
		p.claims[c.Key] = c.sound()
	}
	p.seat(ledger.Entries)
	return p
}

// seat joins entries and pods. What is proved gone has no seat, which frees its entry.
func (p *pass) seat(entries []Entry) {
	seats := make(map[string]*seat, len(entries))
	for _, e := range entries {
		e.Granted, e.Held = plausible(e.Granted), plausible(e.Held)
		p.count(e.Gen)
		seats[e.UID] = &seat{Entry: e, known: true}
	}
	for i := range p.facts.Pods {
		pod := &p.facts.Pods[i]
		if seats[pod.UID] == nil {
			seats[pod.UID] = &seat{Entry: Entry{UID: pod.UID, Namespace: pod.Namespace, Pod: pod.Name, Pool: pod.Pool}}
		}
		seats[pod.UID].pod = pod
	}
	for uid, s := range seats {
		if p.facts.Absent[uid] || (s.pod != nil && s.pod.Terminated) {
			continue
		}
		p.seats = append(p.seats, s)
	}
	slices.SortFunc(p.seats, func(a, b *seat) int { return compareEntries(a.Entry, b.Entry) })
}

func compareEntries(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool),
		cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.UID, b.UID))
}

// release lowers held by what the pod itself says of its newest grant. Nothing
// that it was told before can come back: it obeys no lower number. What was changed
// by hand can still reach it, until it has a higher one.
func (s *seat) release() {
	if s.edited || s.pod == nil || s.pod.Ack == nil || s.pod.Ack.Gen != s.Gen {
		return
	}
	switch ack := s.pod.Ack; {
	case ack.Draining && ack.Cap == 0:
		// PgBouncer has ended, and in a container that starts again so does PgBouncer.
	case ack.Draining:
		s.Held = min(s.Held, max(ack.Cap, ack.Current))
	case ack.Cap <= s.Granted && ack.Current <= s.Granted:
		s.Held = min(s.Held, s.Granted)
	}
}

// now is what the pod may open: its grant, less what it gave back in a drain.
func (s *seat) now() int32 { return min(s.Granted, s.Held) }

func (s *seat) key() PoolKey { return PoolKey{Namespace: s.Namespace, Name: s.Pool} }

// claim is what bounds the seat; where its pool has no claim, only the budget and
// its namespace.
func (p *pass) claim(s *seat) Claim {
	c := p.claims[s.key()]
	c.Key = s.key()
	return c
}

// steerable is whether a grant can change what the pod does and should: it runs,
// reads its file, and its pool wants pods. All others are left as they are.
func (p *pass) steerable(s *seat) bool {
	return s.pod != nil && !s.pod.Terminating && !s.draining() && p.claim(s).Replicas > 0
}

func (s *seat) draining() bool { return s.pod.Ack != nil && s.pod.Ack.Draining }

// grant gives the entry a new number. The caller has made sure of the room.
func (p *pass) grant(s *seat, share int32) {
	s.Granted = share
	s.Held = max(s.Held, share)
	s.Config = cmp.Or(p.claim(s).Config, s.Config)
	s.known, s.changed = true, true
}

// shrink lowers grants at once. Held stays until the pods have let go.
func (p *pass) shrink() {
	for _, s := range p.seats {
		if s.target < s.now() {
			p.grant(s, s.target)
		}
	}
}

// raise grants what is free, first a floor to each pod that waits for one. It
// reserves nothing: targets fit the budget together, so what one waits for comes
// when others have let go.
func (p *pass) raise() {
	if !p.facts.Reachable {
		return
	}
	free := p.free()
	for _, s := range p.seats {
		if s.now() == 0 && s.target > 0 {
			p.raiseTo(s, min(s.target, p.claim(s).Floor), free)
		}
	}
	for _, s := range p.seats {
		p.raiseTo(s, s.target, free)
	}
}

// raiseTo grants as much of want as there is room for, to a pod that has nothing
// at least its floor. Where a bound is exceeded, there are only shrinks.
func (p *pass) raiseTo(s *seat, want int32, free *room) {
	path := free.path(p.claim(s))
	left := path.left()
	share := min(want, s.Held+max(left, 0))
	if left < 0 || share <= s.now() || (s.now() == 0 && share < min(want, p.claim(s).Floor)) {
		return
	}
	path.take(max(share-s.Held, 0))
	p.grant(s, share)
}

// free is the room that nobody can hold.
func (p *pass) free() *room {
	free := newRoom(p.facts.Budget)
	for _, c := range p.claims {
		free.add(c)
	}
	free.path(Claim{}).take(max(p.facts.Unattributed, 0))
	for _, s := range p.seats {
		free.path(p.claim(s)).take(s.Held)
	}
	return free
}

// renew grants the same share again where the configuration changed, where the pod
// was told something else, or where it has less than its grant and takes no more
// before a higher number.
func (p *pass) renew() {
	for _, s := range p.seats {
		config := p.claim(s).Config
		stale := config != "" && config != s.Config
		if p.steerable(s) && (s.edited || s.now() > 0 && (stale || s.short())) {
			p.grant(s, s.now())
		}
	}
}

// short is whether the container came back from a drain that gave some of this
// grant back (a failed liveness probe drains, too).
func (s *seat) short() bool {
	ack := s.pod.Ack
	return ack != nil && ack.Gen == s.Gen && !ack.Draining && ack.Cap > 0 && ack.Cap < s.Granted
}

// ledger numbers what changed. One number for a pass is enough: a pod compares it
// only with those it was given before.
func (p *pass) ledger() Ledger {
	if slices.ContainsFunc(p.seats, func(s *seat) bool { return s.changed }) {
		p.gen++
	}
	next := Ledger{Gen: p.gen, Entries: p.given.Entries[:0:0]} // No entries stay as they were, nil or not.
	for _, s := range p.seats {
		if s.changed {
			s.Gen = p.gen
		}
		if s.known {
			next.Entries = append(next.Entries, s.Entry)
		}
	}
	return next
}
