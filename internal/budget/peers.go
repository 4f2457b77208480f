// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

// highestPeer is the highest number that a peer can have: the keys of cancel requests
// have that much room for it. Source: PgBouncer setting peer_id.
const highestPeer = 1<<14 - 1

// numberPeers gives every entry a peer number that no other entry has, the lowest that is
// free. A pod keeps its number for life, as the keys that its clients have name it:
// where the ledger says another, the pod runs with what it was told.
func (p *pass) numberPeers() {
	taken, numbered := map[int32]bool{}, map[*seat]bool{}
	give := func(choose func(*seat) int32) {
		for _, s := range p.seats {
			id := choose(s)
			if !s.known || numbered[s] || id < 1 || id > highestPeer || taken[id] {
				continue
			}
			s.Peer, numbered[s], taken[id] = id, true, true
		}
	}
	give((*seat).agreedPeer) // Before those who say the same by a mistake in either place.
	give((*seat).toldPeer)
	give(func(s *seat) int32 { return s.Peer })
	free := int32(1)
	give(func(*seat) int32 {
		for taken[free] {
			free++
		}
		return free
	})
}

// toldPeer is the number that stands in the pod's annotation; 0 is none.
func (s *seat) toldPeer() int32 {
	if s.pod == nil {
		return 0
	}
	return s.pod.Peer
}

// agreedPeer is the number where pod and ledger say the same.
func (s *seat) agreedPeer() int32 {
	if s.toldPeer() != s.Peer {
		return 0
	}
	return s.Peer
}
