// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"slices"
)

// choose picks the candidates that are served where only fit of them can be.
// settled is how many can be once the pods that drain have ended.
//
// Those that have a grant come first. Without more, a rollout would not end: the
// new pod waits for a floor, and the old ones wait for it to be ready. So when a
// pod waits, no drain will make room for it, and no other try is under way, the
// oldest makes way for it. Only a younger pod displaces an older one, so
// nothing goes back and forth, and one at a time, so that a pod that never gets
// ready costs one other, and that one only until the new one is Overdue.
func choose(candidates []*seat, fit, settled int) []*seat {
	seated, waiting := fillSeats(candidates, fit)
	if len(waiting) == 0 || len(candidates) <= settled {
		return seated
	}
	if leaver, comer := takeBack(seated, waiting); comer != nil {
		return replace(seated, leaver, comer)
	}
	if leaver, comer := makeWay(seated, waiting); comer != nil {
		return replace(seated, leaver, comer)
	}
	return seated
}

// fillSeats seats those that have a grant, then those that wait.
func fillSeats(candidates []*seat, fit int) (seated, waiting []*seat) {
	order := slices.Clone(candidates)
	slices.SortFunc(order, func(a, b *seat) int {
		return cmp.Or(
			-compareBool(a.now() > 0, b.now() > 0),
			compareBool(a.overdue(), b.overdue()),
			-compareBool(a.serves(), b.serves()),
			byTurn(a, b),
		)
	})
	fit = min(fit, len(order))
	return order[:fit:fit], order[fit:]
}

// serves is whether the pod has a grant and clients can use it.
func (s *seat) serves() bool { return s.now() > 0 && s.pod.Ready }

func (s *seat) overdue() bool { return s.pod.Overdue && !s.pod.Ready }

// compareAge orders the younger before the older. Creation times are whole seconds:
// of the same, one that never had a grant is the younger, then one that has not had
// its turn for longer.
func compareAge(a, b *seat) int {
	return cmp.Or(-cmp.Compare(a.pod.Created, b.pod.Created), compareBool(a.known, b.known),
		cmp.Compare(a.Gen, b.Gen), compareEntries(a.Entry, b.Entry))
}

// byTurn is the order of those that are alike otherwise: the younger first, but of
// those whose try failed the older, which served before.
func byTurn(a, b *seat) int {
	if a.overdue() && b.overdue() {
		return -compareAge(a, b)
	}
	return compareAge(a, b)
}

// compareService orders who has served longest first: the oldest, and of the same
// second the one whose grant is the oldest.
func compareService(a, b *seat) int {
	return cmp.Or(cmp.Compare(a.pod.Created, b.pod.Created), cmp.Compare(a.Gen, b.Gen), compareEntries(a.Entry, b.Entry))
}

// takeBack ends a try that did not succeed: the oldest that waits, which served
// before the try, takes the place of one that is overdue. A parked pod is not ready
// either and may be overdue by now; it comes back if it is the older.
func takeBack(seated, waiting []*seat) (leaver, comer *seat) {
	failed := slices.DeleteFunc(slices.Clone(seated), func(s *seat) bool { return !s.overdue() })
	if len(failed) == 0 {
		return nil, nil
	}
	leaver = slices.MinFunc(failed, compareAge)
	eligible := slices.DeleteFunc(slices.Clone(waiting), func(s *seat) bool { return s.overdue() && compareAge(s, leaver) < 0 })
	if len(eligible) == 0 {
		return nil, nil
	}
	return leaver, slices.MinFunc(eligible, func(a, b *seat) int {
		return cmp.Or(compareBool(a.overdue(), b.overdue()), -compareAge(a, b))
	})
}

// makeWay has the one of the seated that served longest make way for the youngest
// that waits and displaces it. While some serve and some do not, a try is under way;
// where none serves, there is nothing to lose. Where one that waits has a grant, fewer
// fit than before: it goes in this pass, and no other beside it.
func makeWay(seated, waiting []*seat) (leaver, comer *seat) {
	serving := 0
	for _, s := range seated {
		if s.serves() {
			serving++
		}
	}
	underWay := serving > 0 && serving < len(seated)
	fewer := slices.ContainsFunc(waiting, func(s *seat) bool { return s.now() > 0 })
	if underWay || fewer {
		return nil, nil
	}
	for _, leaver := range slices.SortedFunc(slices.Values(seated), compareService) {
		comers := slices.DeleteFunc(slices.Clone(waiting), func(s *seat) bool { return s.overdue() || !displaces(s, leaver) })
		if len(comers) > 0 {
			return leaver, slices.MinFunc(comers, compareAge)
		}
	}
	return nil, nil
}

// displaces is a strict order but for pods of the same second and of two templates:
// which is the newer is not known. They change places until the newer serves; then
// the Deployment ends the older.
func displaces(comer, leaver *seat) bool {
	if comer.pod.Created == leaver.pod.Created {
		return comer.pod.Template != leaver.pod.Template && leaver.serves()
	}
	return comer.pod.Created > leaver.pod.Created
}

func replace(seated []*seat, leaver, comer *seat) []*seat {
	next := slices.Clone(seated)
	next[slices.Index(next, leaver)] = comer
	return next
}
