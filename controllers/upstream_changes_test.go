// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func TestAChangedLedgerWakesThePoolsItBearsOn(t *testing.T) {
	line := func(name string, granted int32) poolv1.PoolAccount {
		return poolv1.PoolAccount{Namespace: "shop", Name: name, Share: new(granted), Granted: new(granted), Held: new(granted)}
	}
	pod := func(uid, pool string, granted int32) poolv1.LedgerEntry {
		return poolv1.LedgerEntry{UID: uid, Namespace: "shop", Pool: pool, Granted: new(granted)}
	}
	before := poolv1.UpstreamStatus{
		Pools:  []poolv1.PoolAccount{line("calm", 10), line("grows", 10), line("moves", 10), line("goes", 10), line("loses", 10)},
		Ledger: []poolv1.LedgerEntry{pod("a", "calm", 10), pod("b", "moves", 5), pod("c", "moves", 5), pod("d", "loses", 0)},
	}
	after := poolv1.UpstreamStatus{
		Account: []string{"other words"}, Granted: new(int32(55)),
		Pools:  []poolv1.PoolAccount{line("calm", 10), line("grows", 20), line("moves", 10), line("comes", 5), line("loses", 10)},
		Ledger: []poolv1.LedgerEntry{pod("a", "calm", 10), pod("b", "moves", 4), pod("c", "moves", 6)},
	}
	want := map[types.NamespacedName]bool{}
	for _, name := range []string{"grows", "moves", "goes", "comes", "loses"} {
		want[types.NamespacedName{Namespace: "shop", Name: name}] = true
	}
	if diff := cmp.Diff(want, poolsTouched(before, after)); diff != "" {
		t.Errorf("pools woken (-want +got):\n%s", diff)
	}
	if touched := poolsTouched(before, before); len(touched) > 0 {
		t.Errorf("nothing changed, and %v are woken", touched)
	}
}
