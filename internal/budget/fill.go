// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"container/heap"
	"math"
	"math/bits"
	"slices"
)

// highestWeight is the API's. With it no product below overflows.
const highestWeight = 10000

// rate is a weight as a fraction: a pool's own, or its part of its namespace's.
type rate struct{ weight, of uint64 }

// weigh sets the rates of pools that divide something between them.
func weigh(pools []*bid) {
	sums := map[string]uint64{}
	for _, b := range pools {
		sums[b.Key.Namespace] += uint64(b.Weight) //nolint:gosec // From 1 to 10000.
	}
	for _, b := range pools {
		b.rate = rate{weight: uint64(b.Weight), of: 1} //nolint:gosec // From 1 to 10000.
		if w := b.Namespace.Weight; w > 0 {
			b.rate.weight *= uint64(min(w, highestWeight))
			b.rate.of = sums[b.Key.Namespace]
		}
	}
}

// compare orders (2·total+1)/rate, multiplied out so that no fraction is rounded.
// The first factor is below 2^32·2^14·pools, so that only the second needs 128 bits.
func (r rate) compare(total int32, other rate, others int32) int {
	leftHigh, leftLow := bits.Mul64(odd(total)*r.of, other.weight)
	rightHigh, rightLow := bits.Mul64(odd(others)*other.of, r.weight)
	return cmp.Or(cmp.Compare(leftHigh, rightHigh), cmp.Compare(leftLow, rightLow))
}

func odd(total int32) uint64 { return 2*uint64(max(total, 0)) + 1 }

func noLimit(*bid) int32 { return math.MaxInt32 }

// fill gives out what is left, one connection at a time, to the pool furthest
// below its weighted part, and to none beyond its limit. A pool that is full once
// stays full, as room only shrinks.
func fill(pools []*bid, limit func(*bid) int32) {
	queue := hungry(slices.Clone(pools))
	heap.Init(&queue)
	for queue.Len() > 0 {
		next := queue[0]
		if next.total >= limit(next) || next.path.left() <= 0 {
			heap.Pop(&queue)
			continue
		}
		next.take(1)
		heap.Fix(&queue, 0)
	}
}

// hungry is a heap of pools, the hungriest first.
type hungry []*bid

func (h hungry) Len() int           { return len(h) }
func (h hungry) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h hungry) Less(i, j int) bool { return compareByRate(h[i], h[j]) < 0 }
func (h *hungry) Push(x any)        { *h = append(*h, x.(*bid)) } //nolint:forcetypeassert,errcheck // container/heap hands back what it was given.
func (h *hungry) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
