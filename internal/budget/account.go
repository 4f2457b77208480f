// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import "slices"

// account sums up what the pass came to.
func (p *pass) account() Account {
	a := Account{Budget: p.facts.Budget}
	pools := make(map[PoolKey]*PoolAccount, len(p.claims))
	for key, c := range p.claims {
		pools[key] = &PoolAccount{Key: key, Weight: c.Weight, Floor: c.Floor}
	}
	for _, s := range p.seats {
		a.Granted += s.now()
		a.Held += s.Held
		if pool := pools[s.key()]; pool != nil {
			pool.Granted += s.now()
			pool.Held += s.Held
			pool.Waiting = append(pool.Waiting, p.waiting(s)...)
		}
	}
	a.OverBudget = a.Held > a.Budget
	shares := p.settledShares(pools)
	for key, pool := range pools {
		pool.Share = shares[key]
		a.Pools = append(a.Pools, *pool)
	}
	slices.SortFunc(a.Pools, func(x, y PoolAccount) int { return x.Key.Compare(y.Key) })
	return a
}

// settledShares are the shares once every pool has its pods and nothing drains.
func (p *pass) settledShares(pools map[PoolKey]*PoolAccount) map[PoolKey]int32 {
	demands := make([]demand, 0, len(p.claims))
	for key, c := range p.claims {
		demands = append(demands, demand{Claim: c, running: pools[key].Granted > 0})
	}
	return distribute(p.facts.Budget, demands)
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
