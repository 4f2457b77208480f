// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func entry(namespace, uid string, held int32) poolv1.LedgerEntry {
	return poolv1.LedgerEntry{
		UID: uid, Namespace: namespace, Pod: "pod-" + uid, Pool: "pool",
		Gen: new(int64(1)), Granted: new(held), Held: new(held), Config: "c",
	}
}

func TestAnotherOperatorsEntriesAreLeftAlone(t *testing.T) {
	r := &BudgetReconciler{Settings: Settings{Namespaces: []string{"ours"}}}
	theirs := entry("theirs", "a", 20)
	upstream := &poolv1.Upstream{Status: poolv1.UpstreamStatus{
		LedgerGeneration: new(int64(9)), Ledger: []poolv1.LedgerEntry{theirs, entry("ours", "b", 30)},
	}}
	ledger, others := r.splitLedger(upstream)
	if len(ledger.Entries) != 1 || ledger.Entries[0].UID != "b" || ledger.Gen != 9 {
		t.Errorf("ours = %+v", ledger)
	}
	ledger.Entries = nil // Whatever becomes of ours.
	if diff := cmp.Diff([]poolv1.LedgerEntry{theirs}, entriesToStatus(ledger, others)); diff != "" {
		t.Errorf("theirs (-want +got):\n%s", diff)
	}
}

func TestTwoOperatorsOnOneServerBothGetAShare(t *testing.T) {
	account := func(namespace string, share, held int32) poolv1.PoolAccount {
		return poolv1.PoolAccount{
			Namespace: namespace, Name: "pool", Weight: 100, Floor: 1, Share: new(share), Granted: new(held), Held: new(held),
		}
	}
	ours := poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: "ours", Name: "pool"}}
	cases := map[string]struct {
		theirs poolv1.PoolAccount
		want   int32
	}{
		"theirs holds all of it still":     {account("theirs", 92, 92), 0},
		"theirs has shrunk to its part":    {account("theirs", 46, 46), 46},
		"theirs has not taken its part up": {account("theirs", 46, 0), 46},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &sighting{
				capacity:        poolv1.Capacity{Budget: new(int32(92))},
				foreignAccounts: []poolv1.PoolAccount{c.theirs}, pools: []poolv1.ConnectionPool{ours},
			}
			if got := s.budget(); got != c.want {
				t.Errorf("what is left for ours = %d, want %d", got, c.want)
			}
		})
	}
}

func TestANameIsMadeOfTheAddress(t *testing.T) {
	taken := []poolv1.Upstream{{ObjectMeta: metav1.ObjectMeta{Name: "taken.example.com"}}}
	cases := map[string]string{
		"db.example.com:5432":    "db.example.com",
		"db.example.com:6000":    "db.example.com-6000",
		"10.1.2.3:5432":          "10.1.2.3",
		"[2001:db8::1]:5432":     "2001-db8--1-9289ef",
		"taken.example.com:5432": "taken.example.com-152a7a",
	}
	for endpoint, want := range cases {
		if got := upstreamName(endpoint, taken); got != want {
			t.Errorf("%s: got %s, want %s", endpoint, got, want)
		}
	}
}
