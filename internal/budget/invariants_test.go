// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"reflect"
	"slices"

	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func equal(a, b budget.Ledger) bool { return reflect.DeepEqual(a, b) }

func held(l budget.Ledger, counts func(budget.Entry) bool) int32 {
	var sum int32
	for _, e := range l.Entries {
		if counts(e) {
			sum += e.Held
		}
	}
	return sum
}

func everyEntry(budget.Entry) bool { return true }

func entries(l budget.Ledger) map[string]budget.Entry {
	byUID := make(map[string]budget.Entry, len(l.Entries))
	for _, e := range l.Entries {
		byUID[e.UID] = e
	}
	return byUID
}

func entryKey(e budget.Entry) budget.PoolKey {
	return budget.PoolKey{Namespace: e.Namespace, Name: e.Pool}
}

// now is what a pod may open: see Ack.Cap for why held can be below granted.
func now(e budget.Entry) int32 { return min(e.Granted, e.Held) }

// bound is a sum of held that must not be exceeded.
type bound struct {
	name   string
	limit  int32
	counts func(budget.Entry) bool
}

func bounds(f budget.Facts) []bound {
	all := []bound{{"the budget", f.Budget, everyEntry}}
	for _, c := range f.Claims {
		if n := c.Namespace.Maximum; n > 0 {
			all = append(all, bound{"the maximum of namespace " + c.Key.Namespace, n, func(e budget.Entry) bool { return e.Namespace == c.Key.Namespace }})
		}
		if c.Maximum > 0 {
			all = append(all, bound{"the maximum of " + c.Key.Name, c.Maximum, func(e budget.Entry) bool { return entryKey(e) == c.Key }})
		}
		for _, l := range []func(budget.Claim) *budget.Limit{
			func(c budget.Claim) *budget.Limit { return c.RoleLimit },
			func(c budget.Claim) *budget.Limit { return c.DatabaseLimit },
		} {
			if l(c) == nil {
				continue
			}
			under := map[budget.PoolKey]bool{}
			for _, other := range f.Claims {
				under[other.Key] = l(other) != nil && l(other).Key == l(c).Key
			}
			all = append(all, bound{"the limit of " + l(c).Key, l(c).Connections, func(e budget.Entry) bool { return under[entryKey(e)] }})
		}
	}
	return all
}

// checkStep holds one decision against the protocol's invariants.
func checkStep(t *rapid.T, o *operator) {
	before, after := entries(o.ledger), entries(o.next)
	seen := map[string]budget.Pod{}
	for _, p := range o.facts.Pods {
		seen[p.UID] = p
	}
	for _, b := range bounds(o.facts) {
		was, is := held(found(o), b.counts), held(o.next, b.counts)
		if is > was && is > b.limit {
			t.Fatalf("I1: a write raises what is held from %d to %d, above %s, %d", was, is, b.name, b.limit)
		}
	}
	over := held(o.next, everyEntry) > o.facts.Budget
	for uid, e := range after {
		old := before[uid]
		checkHeld(t, old, e, seen[uid])
		if says(o, old) <= old.Held {
			checkNumbers(t, o, old, e, seen[uid].Ack)
		}
		rises := e.Granted > max(now(old), says(o, old))
		if rises && e.Gen != old.Gen && (over || !o.facts.Reachable) {
			t.Fatalf("I5, I6: %s is raised from %d to %d while the server is over budget (%t) or silent (%t)", uid, now(old), e.Granted, over, !o.facts.Reachable)
		}
		if p := seen[uid]; e != old && (p.Terminating || (p.Ack != nil && p.Ack.Draining)) && e.Gen != old.Gen {
			t.Fatalf("%s drains and is given another grant: %+v, then %+v", uid, old, e)
		}
	}
	for uid, old := range before {
		if _, stays := after[uid]; !stays && !o.facts.Absent[uid] && !seen[uid].Terminated {
			t.Fatalf("I3: the entry of %s was freed without proof: %+v", uid, old)
		}
	}
	checkSilence(t, o, before, after)
	checkFloors(t, o, before, after)
	checkEntitlements(t, o)
}

// checkEntitlements: who asks beforehand is told what the account will say.
func checkEntitlements(t *rapid.T, o *operator) {
	foretold := budget.Entitlements(o.facts.Budget, o.next, o.facts.Claims)
	for _, p := range o.account.Pools {
		if foretold[p.Key] != p.Entitled {
			t.Fatalf("%s is entitled to %d, and %d was foretold", p.Key.Name, p.Entitled, foretold[p.Key])
		}
	}
}

// found is the ledger with what pods themselves say, under its own numbers, that
// they have: an old answer may say more than is so, and is believed.
func found(o *operator) budget.Ledger {
	known := budget.Ledger{Gen: o.ledger.Gen, Entries: slices.Clone(o.ledger.Entries)}
	for i := range known.Entries {
		known.Entries[i].Held = max(known.Entries[i].Held, says(o, known.Entries[i]))
	}
	return known
}

func says(o *operator, e budget.Entry) int32 {
	for _, p := range o.facts.Pods {
		if p.UID == e.UID && p.Ack != nil && p.Ack.Gen == e.Gen {
			return max(p.Ack.Cap, p.Ack.Current)
		}
	}
	return 0
}

func checkHeld(t *rapid.T, old, e budget.Entry, p budget.Pod) {
	if e.Gen != old.Gen && e.Held < e.Granted {
		t.Fatalf("I2: a new grant of %d is above what is held: %+v", e.Granted, e)
	}
	if e.Held >= old.Held {
		return
	}
	ack := p.Ack
	if ack == nil || ack.Gen != old.Gen {
		t.Fatalf("I3: held of %s fell from %d to %d without an acknowledgement of %d", e.UID, old.Held, e.Held, old.Gen)
	}
	if ack.Draining && ack.Cap == 0 {
		t.Fatalf("I3: held of %s fell from %d to %d because PgBouncer is off: it can come back", e.UID, old.Held, e.Held)
	}
	said := max(ack.Cap, ack.Current)
	if !ack.Draining && said <= old.Granted {
		said = old.Granted
	}
	if e.Held < min(said, old.Held) {
		t.Fatalf("I3: held of %s fell from %d to %d, and the pod says %+v", e.UID, old.Held, e.Held, *ack)
	}
}

func checkNumbers(t *rapid.T, o *operator, old, e budget.Entry, ack *budget.Ack) {
	short := ack != nil && ack.Gen == old.Gen && ack.Cap > 0 && ack.Cap < old.Granted
	differs := e.Granted != old.Granted || e.Config != old.Config
	switch {
	case o.next.Gen < o.ledger.Gen || e.Gen < old.Gen || e.Gen > o.next.Gen:
		t.Fatalf("I4: numbers fell: ledger %d, then %d; entry %+v, then %+v", o.ledger.Gen, o.next.Gen, old, e)
	case differs && e.Gen <= o.ledger.Gen:
		t.Fatalf("I4: a grant changed under its old number: %+v, then %+v", old, e)
	case !differs && e.Gen != old.Gen && now(old) == e.Granted && !short:
		t.Fatalf("a grant that did not change got a new number: %+v, then %+v", old, e)
	}
}

// checkSilence: while the server is silent, only a limit that a person lowered shrinks.
func checkSilence(t *rapid.T, o *operator, before, after map[string]budget.Entry) {
	if o.facts.Reachable {
		return
	}
	for _, b := range bounds(o.facts) {
		if held(found(o), b.counts) > b.limit {
			return
		}
	}
	for uid, e := range after {
		if e.Granted < now(before[uid]) {
			t.Fatalf("I6: %s shrinks on silence: %+v, then %+v", uid, before[uid], e)
		}
	}
}

// checkFloors: a grant is nothing, or at least a floor, but where the pod had less
// before, because the floor rose or a drain gave some back.
func checkFloors(t *rapid.T, o *operator, before, after map[string]budget.Entry) {
	floors := map[budget.PoolKey]int32{}
	for _, c := range o.facts.Claims {
		floors[c.Key] = max(c.Floor, 1)
	}
	for uid, e := range after {
		old := before[uid]
		if e.Gen != old.Gen && e.Granted > 0 && e.Granted < floors[entryKey(e)] && (now(old) == 0 || now(old) >= floors[entryKey(e)]) {
			t.Fatalf("%s is granted part of a floor of %d: %+v, then %+v", uid, floors[entryKey(e)], old, e)
		}
	}
}

// checkWorld holds what pods do against the ledger as it is written.
func checkWorld(t *rapid.T, w *world) {
	byUID := entries(w.ledger)
	for _, p := range w.pods {
		if most := max(p.cap, p.current); !p.terminated && most > byUID[p.uid].Held {
			t.Fatalf("I2: %s runs with a limit of %d and %d connections, and holds %d by the ledger", p.uid, p.cap, p.current, byUID[p.uid].Held)
		}
	}
}
