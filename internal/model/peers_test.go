// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// checkPeers: no two entries have one number, and while the ledger is not lost, a pod
// is never told another than before.
func (w *world) checkPeers(after *poolv1.Upstream) {
	pods := map[int32]string{}
	for _, e := range after.Status.Ledger {
		if other := pods[e.Peer]; e.Peer < 1 || other != "" {
			w.violate("P1: %s and %s are both peer %d", other, e.UID, e.Peer)
		}
		pods[e.Peer] = e.UID
		if before := w.peers[e.UID]; before != 0 && before != e.Peer && !w.losesLedger {
			w.violate("P2: %s was peer %d, and is %d", e.UID, before, e.Peer)
		}
	}
	for _, o := range w.api.now(podsKind) {
		if told, err := contract.DecodePeers(o.GetAnnotations()[poolv1.PeersAnnotation]); err == nil && told.UID == string(o.GetUID()) {
			w.peers[told.UID] = told.ID
		}
	}
}
