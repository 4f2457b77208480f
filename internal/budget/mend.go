// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

// highestLearned is the highest number believed from outside the ledger. Who can
// write to a pod must not be able to use up the numbers of all.
const highestLearned = 1 << 52

// highestHeld is the most connections that a server can have. Source: PostgreSQL,
// MAX_BACKENDS, the bound of max_connections.
const highestHeld = 1<<18 - 1

// plausible keeps sums of numbers that somebody wrote by hand from overflowing.
func plausible(connections int32) int32 { return min(max(connections, 0), highestHeld) }

// mend takes into the ledger what a pod knows and the ledger does not: it was lost,
// put back from an older copy, or changed by hand.
func (p *pass) mend(s *seat) {
	if s.pod == nil {
		return
	}
	told, ack := s.pod.Told, s.pod.Ack
	lost := false
	if told != nil {
		lost = p.learn(s, *told)
	}
	if ack != nil {
		lost = p.learn(s, Told{Gen: ack.Gen, Share: ack.Cap, Config: ack.Config}) || lost
	}
	if !s.known {
		return
	}
	if told != nil {
		s.compare(*told)
	}
	if ack != nil && (lost || ack.Gen == s.Gen) {
		s.hear(max(ack.Cap, ack.Current), lost)
	}
}

// learn takes over a grant that is newer than the entry's, and what its pod may hold
// by those before it.
func (p *pass) learn(s *seat, newer Told) bool {
	if newer.Gen <= s.Gen || newer.Gen > highestLearned {
		return false
	}
	s.known = true
	s.Gen, s.Granted, s.Config = newer.Gen, plausible(newer.Share), newer.Config
	s.Held = max(s.Held, s.Granted, plausible(newer.Held))
	p.count(newer.Gen)
	return true
}

// count keeps the next number above all that were ever given.
func (p *pass) count(gen int64) {
	if gen <= highestLearned {
		p.gen = max(p.gen, gen)
	}
}

// compare holds the entry against the annotation of its own number: the two say
// the same, or somebody changed one of them.
func (s *seat) compare(told Told) {
	if told.Gen == s.Gen && told.Share != s.Granted {
		s.Held = max(s.Held, plausible(told.Share), plausible(told.Held))
		s.edited = true
	}
}

// hear raises held to what the pod itself has by its own word. Where the ledger
// already knew the grant, that is more than it can have come to by it.
func (s *seat) hear(has int32, lost bool) {
	if has = plausible(has); has > s.Held {
		s.Held = has
		s.edited = s.edited || !lost
	}
}
