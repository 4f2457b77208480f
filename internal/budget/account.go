// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"maps"
	"slices"
)

// account sums up what the pass came to.
func (p *pass) account() Account {
	a := Account{Budget: p.facts.Budget}
	pools := make(map[PoolKey]*PoolAccount, len(p.claims))
	bids := make(map[PoolKey]*bid, len(p.claims))
	for key, c := range p.claims {
		pools[key] = &PoolAccount{Key: key, Weight: c.Weight, Floor: c.Floor, Minimum: c.Minimum}
		bids[key] = &bid{Claim: c}
	}
	for _, s := range p.seats {
		a.Granted += s.now()
		a.Held += s.Held
		if pool := pools[s.key()]; pool != nil {
			pool.add(s)
			pool.Waiting = append(pool.Waiting, p.waiting(s)...)
			bids[s.key()].add(s)
		}
	}
	a.OverBudget = a.Held > a.Budget
	settled := divide(p.facts.Budget, slices.Collect(maps.Values(bids)))
	settled.lend()
	for _, b := range settled.bids {
		pool := pools[b.Key]
		pool.Entitled, pool.Share = b.entitled, b.total
		a.Pools = append(a.Pools, *pool)
	}
	return a
}

// Entitlements is what each pool comes to once all pools have their pods and have
// settled, before anything is lent: what PoolAccount.Entitled is where nothing moves.
// The ledger says which pools run.
func Entitlements(budget int32, ledger Ledger, claims []Claim) map[PoolKey]int32 {
	bids := make(map[PoolKey]*bid, len(claims))
	for _, c := range claims {
		bids[c.Key] = &bid{Claim: c}
	}
	for _, e := range ledger.Entries {
		s := &seat{Entry: e, known: true}
		if b := bids[s.key()]; b != nil {
			b.add(s)
		}
	}
	return divide(max(budget, 0), slices.Collect(maps.Values(bids))).live()
}

// add counts a seat into its pool's account.
func (a *PoolAccount) add(s *seat) {
	a.Granted += s.now()
	a.Held += s.Held
	a.Due += max(s.target-s.now(), 0)
	a.Releasing += max(s.Held-s.Granted, 0)
}

// add counts a seat into the bid of a pool once it has all its pods and nothing
// drains.
func (b *bid) add(s *seat) {
	b.has += s.now()
	switch {
	case s.Held > 0:
		b.standing = serving
	case s.known:
		b.standing = max(b.standing, parked)
	}
}

// waiting is empty for a pod that has a grant, or could not use one.
func (p *pass) waiting(s *seat) []Waiting {
	if !p.steerable(s) || s.now() > 0 || s.pod.Pending {
		return nil
	}
	reason := InsufficientBudget
	switch {
	case !p.facts.Reachable:
		reason = ServerUnreachable
	case s.target > 0 || (!s.known && p.addressTaken(s)):
		reason = WaitingForRelease
	}
	return []Waiting{{UID: s.UID, Pod: s.Pod, Reason: reason}}
}
