// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// maxPeerID is PgBouncer's: more do not fit into a cancel key (peer_id).
const maxPeerID = 16383

// peering is who else hands on cancel requests. It bounds nothing, so it is in force
// as it comes: it waits for no grant, and no grant waits for it.
type peering struct {
	want pgbouncer.Peers
	// written are those that stand in PgBouncer's files.
	written pgbouncer.Peers
	// problem says why want is not what was laid down last.
	problem string
}

// lookForPeers reads what the manager has laid down. What can not be read leaves
// the peers as they were.
func (s *Supervisor) lookForPeers() {
	peers, err := readPeers(s.PodDir, s.in.uid)
	s.peering.problem = ""
	if err != nil {
		s.peering.problem = err.Error()
		return
	}
	s.peering.want = peers
	s.courier.know(peers.Hosts)
}

func readPeers(podDir, uid string) (pgbouncer.Peers, error) {
	text, err := read(podDir, contract.PeersFile)
	if err != nil {
		return pgbouncer.Peers{}, err
	}
	peers, err := contract.DecodePeers(string(bytes.TrimSpace(text)))
	if err != nil {
		return pgbouncer.Peers{}, err
	}
	if uid == "" || peers.UID != uid {
		return pgbouncer.Peers{}, nil // None, or those of the pod that this is a copy of.
	}
	return checkPeers(peers)
}

// checkPeers refuses what PgBouncer would not take, or take for something else.
func checkPeers(peers contract.Peers) (pgbouncer.Peers, error) {
	good := func(id int32) bool { return id >= 1 && id <= maxPeerID }
	if !good(peers.ID) {
		return pgbouncer.Peers{}, fmt.Errorf("reading the peers: this one's id is %d, not 1 to %d", peers.ID, maxPeerID)
	}
	for id, host := range peers.Others {
		if address, err := netip.ParseAddr(host); err != nil || address.Zone() != "" || !good(id) || id == peers.ID {
			return pgbouncer.Peers{}, fmt.Errorf("reading the peers: peer %d at %q is not another one with an IP address", id, host)
		}
	}
	return pgbouncer.Peers{ID: peers.ID, Hosts: peers.Others}, nil
}

func (p peering) settled() bool {
	return p.want.ID == p.written.ID && maps.Equal(p.want.Hosts, p.written.Hosts)
}

// join makes PgBouncer know its peers. Its server connections are none of theirs.
func (s *Supervisor) join(ctx context.Context) error {
	if s.process == nil || s.running.doc == nil || s.peering.settled() {
		return nil
	}
	if err := s.rewrite(ctx); err != nil {
		s.peering.written = pgbouncer.Peers{ID: -1} // It is not known: try again.
		return err
	}
	s.Log.Info("the peers are in force", "id", s.peering.want.ID, "others", len(s.peering.want.Hosts))
	return nil
}
