// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"slices"
)

// standing is what a pool has been to its server. A new pool never cuts off one
// that serves.
type standing int

const (
	// fresh pools were never granted anything.
	fresh standing = iota
	// parked pools were, and hold nothing now: their floors did not fit, or the only
	// pod made way for one that is about to be granted.
	parked
	// serving pools hold connections.
	serving
)

// bid is a claim with what the ledger adds to it, and what it comes to.
type bid struct {
	Claim
	standing standing
	// has is what the pool's pods may open now, but for what drains.
	has int32
	// pods is how many could be served now; Claim.Replicas is how many are wanted.
	pods int32
	// base is what its pods hold that no new grant can change: they drain.
	base int32

	rate rate
	path path
	// total is what the pool comes to, base included; entitled is the same before
	// anything is lent.
	total, entitled int32
}

// division is a budget as it is being divided.
type division struct {
	// bids are in the order of their keys.
	bids []*bid
	// served are those that get something.
	served []*bid
}

// divide gives every pool what it is entitled to: first the floors of pools that
// ran, those first that still do; then these up to their minimums, by weight; then
// each new pool, by name, its floor and its minimum, whole or not at all; then the
// rest, by weight. What drains counts for the pool it drains from, but not against
// its floor.
func divide(budget int32, bids []*bid) *division {
	d := newDivision(budget, bids)
	d.admit(serving)
	d.admit(parked)
	for _, b := range d.bids {
		b.take(b.base) // It is held, whatever the bounds say; later only what is left is given.
	}
	fill(d.served, func(b *bid) int32 { return b.Minimum })
	d.admit(fresh)
	fill(d.served, noLimit)
	for _, b := range d.bids {
		b.entitled = b.total
	}
	return d
}

func newDivision(budget int32, bids []*bid) *division {
	d := &division{bids: slices.SortedFunc(slices.Values(bids), func(a, b *bid) int { return a.Key.Compare(b.Key) })}
	room := newRoom(budget)
	for _, b := range d.bids {
		b.Claim = b.sound()
		room.add(b.Claim)
	}
	for _, b := range d.bids {
		b.path = room.path(b.Claim)
	}
	return d
}

// sound is the claim with every number where it means something.
func (c Claim) sound() Claim {
	c.Weight = min(max(c.Weight, 1), highestWeight)
	c.Floor = max(c.Floor, 1)
	if c.Maximum > 0 {
		c.Minimum = min(c.Minimum, c.Maximum)
	}
	c.Minimum = max(c.Minimum, 0)
	return c
}

// admit serves the pools of one standing that get what they need to start.
func (d *division) admit(s standing) {
	for _, b := range d.bids {
		if b.standing == s && b.Replicas > 0 && b.start() <= b.path.left() {
			b.take(b.start())
			d.served = append(d.served, b)
		}
	}
	weigh(d.served)
}

// start is the least that the pool can start with.
func (b *bid) start() int32 {
	if b.standing == fresh {
		return max(b.Floor, b.Minimum)
	}
	return b.Floor
}

func (b *bid) take(n int32) {
	b.total += n
	b.path.take(n)
}

// live is what each pool's pods come to, without what drains.
func (d *division) live() map[PoolKey]int32 {
	shares := make(map[PoolKey]int32, len(d.bids))
	for _, b := range d.bids {
		shares[b.Key] = b.total - b.base
	}
	return shares
}

// compareByRate orders first the pool that is furthest below its weighted part.
func compareByRate(a, b *bid) int {
	return cmp.Or(a.rate.compare(a.total, b.rate, b.total), a.Key.Compare(b.Key))
}
