// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
)

// PoolKey names a ConnectionPool.
type PoolKey struct{ Namespace, Name string }

// Compare orders keys by namespace, then name.
func (k PoolKey) Compare(other PoolKey) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name))
}

// Limit is a CONNECTION LIMIT at the server, which all pools that name the same
// Key share. Source: pg_roles.rolconnlimit and pg_database.datconnlimit; their -1
// is no Limit.
type Limit struct {
	// Key is the role or the database. Roles and databases do not meet, so one name
	// may be both.
	Key string
	// Connections is how many; where pools disagree the lowest holds.
	Connections int32
}

// NamespaceRule is the administrator's word on all pools of one namespace
// together. The zero value is none.
type NamespaceRule struct {
	// Weight is shared by the namespace's pools in proportion to their own weights; 0
	// lets each pool weigh by itself.
	Weight int32
	// Maximum is what they take at most together; 0 is none.
	Maximum int32
}

// Claim is what one pool asks of its server.
type Claim struct {
	Key PoolKey
	// Weight is the pool's part beside the other pools; below 1 counts as 1.
	Weight int32
	// Floor is the least one of its pods can run with: one for each database. Below 1
	// counts as 1.
	Floor int32
	// Minimum is what the pool is kept for whatever others want, once its pods have
	// started; a pool that is not running starts when its Minimum fits. 0 is none.
	Minimum int32
	// Maximum is what the pool takes at most, draining pods included; 0 is none.
	Maximum int32
	// Need is how many connections the pool's clients have use for; nil while that is
	// not known. It decides what is lent, and nothing else.
	Need *int32
	// Keeps is true for a pool that could not give a loan back when it is asked to
	// (session mode): it gets no more than it is entitled to.
	Keeps bool
	// Namespace is what the server's administrator says of the pool's namespace.
	Namespace NamespaceRule
	// Replicas is how many pods the pool's spec asks for. A pool of 0 has no share.
	Replicas int32
	// RoleLimit and DatabaseLimit bind the pool together with the others under them.
	RoleLimit, DatabaseLimit *Limit
	// Config is the revision of the configuration to grant. Empty leaves pods with
	// the one they have.
	Config string
}

// demand is a claim with what the ledger adds to it.
type demand struct {
	Claim
	// base is what the pool's pods hold that no new grant can change: they drain.
	base int32
	// running pools get their floor before others, so that a new pool never cuts off
	// one that serves.
	running bool
}

// Shares divides budget over claims: weighted max-min fair, with nothing left
// over while a pool could take it. Each pool gets at least its floor, or nothing:
// when the floors do not all fit, they are given in order of name, and a pool
// whose floor does not fit yields. It never gets more than its Maximum, and pools
// under one Limit together never more than that.
//
// Rounding takes the pool that is furthest below its exact share (Webster's
// method, ties by name). Unlike the largest remainder it never takes a connection
// from a pool because the budget grew, and for two pools it is the same.
func Shares(budget int32, claims []Claim) map[PoolKey]int32 {
	demands := make([]demand, 0, len(claims))
	for _, c := range claims {
		demands = append(demands, demand{Claim: c})
	}
	return distribute(budget, demands)
}

// PodsThatFit is how many of a pool's replicas its share can serve. floor below 1
// counts as 1.
func PodsThatFit(share, floor, replicas int32) int32 {
	return max(min(replicas, share/max(floor, 1)), 0)
}

// part is what the i-th of n gets of share; nothing from the n-th on.
func part(share, n, i int32) int32 {
	switch {
	case i >= n:
		return 0
	case i < share%n:
		return share/n + 1
	default:
		return share / n
	}
}

// distribute returns what each pool's pods come to, without what drains. First
// the floors, then what drains is charged to the pool it drains from, then the rest
// one by one. A pool that has its floor keeps it, however much drains.
func distribute(budget int32, demands []demand) map[PoolKey]int32 {
	demands = slices.Clone(demands)
	slices.SortFunc(demands, func(a, b demand) int { return a.Key.Compare(b.Key) })
	room := newRoom(budget)
	for _, d := range demands {
		room.add(d.Claim)
	}
	totals := make(map[PoolKey]int32, len(demands))
	take := func(d demand, n int32) {
		totals[d.Key] += n
		room.take(d.Claim, n)
	}
	var served []demand
	for _, d := range floorOrder(demands) {
		if floor := max(d.Floor, 1); d.Replicas > 0 && floor <= room.left(d.Claim) {
			take(d, floor)
			served = append(served, d)
		}
	}
	for _, d := range demands {
		take(d, d.base) // It is held, whatever the bounds say; fill gives only what is left.
	}
	fill(served, totals, room, take)
	return live(demands, served, totals)
}

// live takes what drains off each total.
func live(demands, served []demand, totals map[PoolKey]int32) map[PoolKey]int32 {
	shares := make(map[PoolKey]int32, len(demands))
	for _, d := range demands {
		shares[d.Key] = 0
	}
	for _, d := range served {
		shares[d.Key] = max(totals[d.Key]-d.base, d.Floor, 1)
	}
	return shares
}

func floorOrder(sorted []demand) []demand {
	order := slices.Clone(sorted)
	slices.SortStableFunc(order, func(a, b demand) int {
		switch {
		case a.running == b.running:
			return 0
		case a.running:
			return -1
		default:
			return 1
		}
	})
	return order
}

// fill gives out what is left, one connection at a time, to the pool furthest
// below its weighted part. A pool that is full once stays full, as room only shrinks.
func fill(served []demand, totals map[PoolKey]int32, room *room, take func(demand, int32)) {
	queue := &hungry{pools: slices.Clone(served), totals: totals}
	heap.Init(queue)
	for queue.Len() > 0 {
		next := queue.pools[0]
		if room.left(next.Claim) <= 0 {
			heap.Pop(queue)
			continue
		}
		take(next, 1)
		heap.Fix(queue, 0)
	}
}

// hungry is a heap of pools by (2·total+1)/weight, then by key.
type hungry struct {
	pools  []demand
	totals map[PoolKey]int32
}

func (h *hungry) Len() int      { return len(h.pools) }
func (h *hungry) Swap(i, j int) { h.pools[i], h.pools[j] = h.pools[j], h.pools[i] }
func (h *hungry) Push(x any)    { h.pools = append(h.pools, x.(demand)) } //nolint:forcetypeassert,errcheck // container/heap hands back what it was given.
func (h *hungry) Pop() any {
	last := h.pools[len(h.pools)-1]
	h.pools = h.pools[:len(h.pools)-1]
	return last
}

func (h *hungry) Less(i, j int) bool {
	a, b := h.pools[i], h.pools[j]
	// Multiplied out, so that no fraction is rounded.
	left := (2*int64(h.totals[a.Key]) + 1) * int64(max(b.Weight, 1))
	right := (2*int64(h.totals[b.Key]) + 1) * int64(max(a.Weight, 1))
	return cmp.Or(cmp.Compare(left, right), a.Key.Compare(b.Key)) < 0
}

// scope is a sum that is bounded: the whole budget, a role, a database, a pool.
type scope struct {
	kind, key string
	pool      PoolKey
}

// room is what is left under each bound.
type room struct {
	bounds map[scope]int32
}

func newRoom(budget int32) *room {
	return &room{bounds: map[scope]int32{{kind: "budget"}: max(budget, 0)}}
}

// scopes are the bounds that a claim is under.
func scopes(c Claim) []scope {
	all := []scope{{kind: "budget"}}
	if c.Maximum > 0 {
		all = append(all, scope{kind: "pool", pool: c.Key})
	}
	if c.RoleLimit != nil {
		all = append(all, scope{kind: "role", key: c.RoleLimit.Key})
	}
	if c.DatabaseLimit != nil {
		all = append(all, scope{kind: "database", key: c.DatabaseLimit.Key})
	}
	return all
}

// add makes the bounds of a claim known.
func (r *room) add(c Claim) {
	if c.Maximum > 0 {
		r.bounds[scope{kind: "pool", pool: c.Key}] = c.Maximum
	}
	if l := c.RoleLimit; l != nil {
		r.lower(scope{kind: "role", key: l.Key}, l.Connections)
	}
	if l := c.DatabaseLimit; l != nil {
		r.lower(scope{kind: "database", key: l.Key}, l.Connections)
	}
}

func (r *room) lower(s scope, to int32) {
	if now, known := r.bounds[s]; !known || to < now {
		r.bounds[s] = max(to, 0)
	}
}

// left is how many connections a pool may still take; negative where a bound is
// already exceeded.
func (r *room) left(c Claim) int32 {
	least := int32(math.MaxInt32)
	for _, s := range scopes(c) {
		least = min(least, r.bounds[s])
	}
	return least
}

// take uses n of every bound that the claim is under.
func (r *room) take(c Claim, n int32) {
	for _, s := range scopes(c) {
		r.bounds[s] -= n
	}
}
