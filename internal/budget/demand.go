// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"math"
	"time"
)

// DemandMemory is how long a pool's demand is remembered: what it needs falls only
// to the most it wanted in this time.
const DemandMemory = 30 * time.Second

// Usage is what all pods of a pool say of their server connections at one time,
// added up.
type Usage struct {
	// Peak is how many were in use by clients at once.
	Peak int32
	// Starved is how many clients have been waiting for one that a larger grant would
	// give them.
	Starved int32
}

// UsageOf is what the pods of a pool come to. As a pool's connections are divided
// evenly over its pods, one whose clients wait can be helped only with as many for
// each of the others: without that, a pool would lend what its idle pods have while
// clients wait at a busy one.
func UsageOf(pods []Usage) Usage {
	var sum Usage
	var busiest int32
	for _, u := range pods {
		sum.Peak += max(u.Peak, 0)
		sum.Starved += max(u.Starved, 0)
		if u.Starved > 0 {
			busiest = max(busiest, max(u.Peak, 0)+u.Starved)
		}
	}
	if busiest > 0 {
		sum.Starved = max(sum.Starved, int32(len(pods))*busiest-sum.Peak) //nolint:gosec // A pool's pods are a few hundred.
	}
	return sum
}

// want is what the pool has use for: what its clients use and wait for, or, where
// none waits, headroom of a quarter so that the next one need not.
func (u Usage) want() int32 {
	peak := max(u.Peak, 0)
	more := max(1, peak/4)
	if u.Starved > 0 {
		more = u.Starved
	}
	return int32(min(int64(peak)+int64(more), math.MaxInt32)) //nolint:gosec // Not above.
}

// Demand turns what a pool's pods say, sample by sample, into Claim.Need. The zero
// value is ready.
type Demand struct {
	since, last time.Time
	// wants are those of the last DemandMemory that no later one reaches, so the first
	// is the largest.
	wants []pastWant
	need  int32
	known bool
}

type pastWant struct {
	at time.Time
	n  int32
}

// Observe adds a sample. Samples that are further apart than DemandMemory have
// nothing to do with each other, be it that the clock was set: what came before is
// forgotten.
func (d *Demand) Observe(at time.Time, u Usage) {
	if d.last.IsZero() || at.Sub(d.last).Abs() > DemandMemory {
		*d = Demand{since: at, last: at}
	}
	if at.Before(d.last) {
		at = d.last
	}
	d.last = at
	d.remember(pastWant{at: at, n: u.want()})
	whole := at.Sub(d.since) >= DemandMemory
	d.known = d.known || whole || u.Starved > 0
	d.follow(whole)
}

func (d *Demand) remember(w pastWant) {
	n := len(d.wants)
	for n > 0 && d.wants[n-1].n <= w.n {
		n--
	}
	d.wants = append(d.wants[:n], w)
	for w.at.Sub(d.wants[0].at) > DemandMemory {
		d.wants = d.wants[1:]
	}
}

// follow rises at once, and falls only after a whole DemandMemory and by more than
// noise, so that steady demand settles.
func (d *Demand) follow(whole bool) {
	largest := d.wants[0].n
	if largest > d.need || whole && d.need-largest >= max(2, d.need/10) {
		d.need = largest
	}
}

// Need is how many connections the pool has use for. It is nil until samples cover
// a whole DemandMemory, as nobody knows what was borrowed for before; but where
// clients wait, what they wait for is known at once.
func (d *Demand) Need() *int32 {
	if !d.known {
		return nil
	}
	return new(d.need)
}
