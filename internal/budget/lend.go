// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

// lend moves connections from pools that need less than they are entitled to, to
// pools that need more. Where nobody needs more, nothing moves, whatever others
// leave idle: ordinary demand changes no grant. What is lent and what stays at home
// follow the weights, and every bound holds for loans, too.
func (d *division) lend() {
	var lenders, borrowers []*bid
	for _, b := range d.served {
		switch {
		case b.borrows():
			borrowers = append(borrowers, b)
		case b.keeps() < b.total:
			lenders = append(lenders, b)
		}
	}
	if len(borrowers) == 0 {
		return
	}
	for _, b := range lenders {
		b.take(b.keeps() - b.total)
	}
	fill(borrowers, (*bid).wants)
	fill(lenders, func(b *bid) int32 { return b.entitled })
}

// wants is how many connections the pool has use for. While its need is not known,
// that is what it has: what it borrowed stays borrowed, what it lent stays lent.
// One that has nothing wants what it is entitled to.
func (b *bid) wants() int32 {
	switch {
	case b.Need != nil:
		return max(*b.Need, 0)
	case b.has > 0:
		return b.has + b.base
	default:
		return b.entitled
	}
}

// borrows is whether the pool needs more than it is entitled to, and could give
// a loan back.
func (b *bid) borrows() bool { return !b.Keeps && b.wants() > b.entitled }

// keeps is what a lender never goes below: its minimum, what it needs beside what
// drains, and a floor for each pod that it is entitled to.
func (b *bid) keeps() int32 {
	need := b.wants()
	if b.Need == nil && b.has > 0 {
		need = b.has
	}
	floors := b.Floor * PodsThatFit(b.entitled-b.base, b.Floor, max(b.Replicas, b.pods))
	return min(max(b.Minimum, b.base+max(need, floors)), b.total)
}
