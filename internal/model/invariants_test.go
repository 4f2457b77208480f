// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// check holds the world against what must be true at every moment.
func (w *world) check() {
	w.sweep()
	w.checkServer()
	if w.hostile {
		return
	}
	held := heldBy(w.upstream().Status.Ledger)
	for _, p := range w.pods {
		if most := p.most(); most <= held[p.uid] {
			p.accounted = true
		} else if p.accounted {
			w.violate("I2: %s can come to %d connections, and holds %d by the ledger", p, most, held[p.uid])
		}
	}
}

// checkServer is what admission promises, whatever the ledger says.
func (w *world) checkServer() {
	s := &w.server
	admitted, _ := s.admitted()
	switch {
	case admitted > s.limit():
		w.violate("A1: pools have %d connections that have counted themselves in, of %d", admitted, s.limit())
	case s.others < direct && admitted+s.others >= s.slots():
		w.violate("A2: the server has no connection left for others, who have %d", s.others)
	}
}

// checkWrite holds one write of the ledger against the protocol, from what is true
// and not from what the leader believes.
func (w *world) checkWrite(l *leader, before, after *poolv1.Upstream) {
	old, now := entries(before.Status.Ledger), entries(after.Status.Ledger)
	for _, p := range w.pods {
		p.note()
	}
	w.checkSum(l, before, after)
	w.checkPeers(after)
	if value(after.Status.LedgerGeneration) < value(before.Status.LedgerGeneration) {
		w.violate("I4: the ledger's number falls from %d to %d", value(before.Status.LedgerGeneration), value(after.Status.LedgerGeneration))
	}
	for uid, e := range old {
		if _, stays := now[uid]; !stays {
			w.checkFreed(e)
		}
	}
	for uid, e := range now {
		w.checkEntry(l, old[uid], e)
		w.checkNumber(old[uid], e, value(after.Status.LedgerGeneration))
	}
}

// checkSum: no write raises what is held above the budget. A pod that a lost ledger
// forgot counts with what it may hold all the same. What a pod was told and the
// ledger takes up again, because the ledger was lost or a cache still shows a pod that
// is over, is nothing that anybody can open anew.
func (w *world) checkSum(l *leader, before, after *poolv1.Upstream) {
	old, now := heldBy(before.Status.Ledger), heldBy(after.Status.Ledger)
	forgotten := map[string]int32{}
	for _, p := range w.pods {
		if !p.accounted && !w.hostile {
			forgotten[p.uid] = p.most()
		}
	}
	was, is := int32(0), int32(0)
	for uid := range union(old, now, forgotten) {
		was += max(old[uid], forgotten[uid])
		is += max(now[uid], forgotten[uid])
		if w.losesLedger {
			was += max(min(now[uid], l.canLearn(uid))-max(old[uid], forgotten[uid]), 0)
		}
	}
	if limit := l.budget(after); is > was && is > limit {
		w.violate("I1: a write raises what is held from %d to %d, above the budget of %d", was, is, limit)
	}
}

// canLearn is the most that this leader can have read of a pod's grants elsewhere
// than in the ledger.
func (l *leader) canLearn(uid string) int32 {
	most := max(l.heard[uid].Cap, l.heard[uid].Current)
	for _, s := range []snapshot{l.listed[podsKind], l.w.api.now(podsKind)} {
		for _, o := range s {
			if g, err := contract.DecodeAnnotation(o.GetAnnotations()[poolv1.GrantAnnotation]); err == nil && g.UID == uid && o.GetUID() == types.UID(uid) {
				most = max(most, g.Held)
			}
		}
	}
	return most
}

// budget is what pools may take by what this leader knows of the server: the newest
// good look on behalf of any pool. What came in or was read anew during the pass may
// not be in it.
func (l *leader) budget(u *poolv1.Upstream) int32 {
	most := int32(0)
	for _, looks := range l.lookedAt {
		for _, listed := range l.poolsRead {
			most = max(most, newest(looks, listed, u).Budget(reserveOf(u)).Connections)
		}
	}
	return most
}

// newest is the capacity by the newest good look for one of these pools, else as the
// Upstream's status has it.
func newest(looks map[types.NamespacedName]controllers.Record, listed snapshot, u *poolv1.Upstream) budget.Capacity {
	known := budget.Capacity{
		MaxConnections:    value(u.Status.Capacity.MaxConnections),
		SuperuserReserved: value(u.Status.Capacity.SuperuserReserved), Reserved: value(u.Status.Capacity.Reserved),
	}
	var at time.Time
	for pool := range listed {
		if r := looks[pool]; r.SeenAt.After(at) {
			o := r.Observation
			at, known = r.SeenAt, budget.Capacity{MaxConnections: o.MaxConnections, SuperuserReserved: o.SuperuserReserved, Reserved: o.Reserved}
		}
	}
	return known
}

// reserveOf is what the Upstream's administrator keeps from pools.
func reserveOf(u *poolv1.Upstream) budget.Reserve {
	reserve := budget.Reserve{Direct: new(int32(direct))}
	if n := u.Spec.MaxServerConnections; n > 0 {
		reserve.MaxServerConnections = &n
	}
	return reserve
}

// checkFreed: an entry goes with its pod's object, or when all of it has ended.
func (w *world) checkFreed(e poolv1.LedgerEntry) {
	for _, o := range w.api.now(podsKind) {
		pod, _ := o.(*corev1.Pod)
		if string(pod.UID) == e.UID && pod.Status.Phase != corev1.PodFailed {
			w.violate("I3: the entry of %s (%s), which is there, was freed: held %d", e.UID, e.Pod, *e.Held)
		}
	}
}

// checkEntry: held falls by the pod's own word alone; nothing rises on silence or
// while more is held than there is.
func (w *world) checkEntry(l *leader, old, e poolv1.LedgerEntry) {
	was := min(value(old.Granted), value(old.Held))
	if rises := *e.Granted > was && *e.Gen != value(old.Gen); rises && !l.reached && *e.Granted > l.canLearn(e.UID) {
		w.violate("I6: %s is raised from %d to %d, and no look at the server was good", e.UID, was, *e.Granted)
	}
	if p := w.byUID(e.UID); p != nil && *e.Held < value(old.Held) && !p.hasSaid(value(old.Gen), *e.Held) {
		w.violate("I3: held of %s falls from %d to %d, and it never said so of number %d or a later", p, value(old.Held), *e.Held, value(old.Gen))
	}
}

// hasSaid is whether the pod has acknowledged the grant gen, or a later one, with no
// more connections than held.
func (p *pod) hasSaid(gen int64, held int32) bool {
	for _, s := range p.said {
		if s.Gen >= gen && max(s.Cap, s.Current) <= held && (!s.Draining || s.Cap > 0) {
			return true
		}
	}
	return false
}

// checkNumber: numbers only grow, and one number is one grant.
func (w *world) checkNumber(old, e poolv1.LedgerEntry, gen int64) {
	if *e.Gen < value(old.Gen) || *e.Gen > gen {
		w.violate("I4: the number of %s goes from %d to %d, the ledger's is %d", e.UID, value(old.Gen), *e.Gen, gen)
	}
	key, grant := fmt.Sprint(e.UID, "/", *e.Gen), fmt.Sprint(*e.Granted, " with ", e.Config)
	if before, known := w.numbers[key]; known && before != grant && *e.Gen > 0 && !w.losesLedger {
		w.violate("I4: number %d of %s was %s, and is now %s", *e.Gen, e.UID, before, grant)
	}
	w.numbers[key] = grant
}

func (w *world) byUID(uid string) *pod {
	for _, p := range w.pods {
		if p.uid == uid {
			return p
		}
	}
	return nil
}

func entries(ledger []poolv1.LedgerEntry) map[string]poolv1.LedgerEntry {
	byUID := make(map[string]poolv1.LedgerEntry, len(ledger))
	for _, e := range ledger {
		byUID[e.UID] = e
	}
	return byUID
}

func heldBy(ledger []poolv1.LedgerEntry) map[string]int32 {
	byUID := make(map[string]int32, len(ledger))
	for _, e := range ledger {
		byUID[e.UID] = *e.Held
	}
	return byUID
}

func union(all ...map[string]int32) map[string]bool {
	keys := map[string]bool{}
	for _, m := range all {
		for key := range m {
			keys[key] = true
		}
	}
	return keys
}
