// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func toldPeer(id int32) podOption { return func(p *budget.Pod) { p.Peer = id } }

func TestEveryPodHasAPeerNumberOfItsOwnForLife(t *testing.T) {
	shop := aPool("shop")
	tests := []struct {
		name  string
		scene *scene
		// recorded are the numbers that the ledger has, in the order of its entries.
		recorded []int32
		want     map[string]int32
	}{
		{
			"the first pods of a server are numbered from 1",
			aScene(10, shop, aPool("web")).pod("shop-a").pod("web-a"), nil,
			map[string]int32{"shop-a": 1, "web-a": 2},
		},
		{
			"a pod without a grant has none",
			aScene(10, shop).pod("shop-a").pod("shop-b", pending), nil,
			map[string]int32{"shop-a": 1},
		},
		{
			"a new pod gets the lowest that is free, and the others keep theirs",
			aScene(12, shop).settled("shop-a", 1, 2).settled("shop-c", 1, 2).pod("shop-b"),
			[]int32{1, 3},
			map[string]int32{"shop-a": 1, "shop-b": 2, "shop-c": 3},
		},
		{
			"the number of a pod that is gone is free",
			aScene(12, shop).settled("shop-a", 1, 2).entry("shop-b", 1, 2, 2).gone("shop-b").pod("shop-c"),
			[]int32{1, 2},
			map[string]int32{"shop-a": 1, "shop-c": 2},
		},
		{
			"that of a pod on its way out is not",
			aScene(12, shop).settled("shop-a", 1, 2, terminating).pod("shop-b"),
			[]int32{1},
			map[string]int32{"shop-a": 1, "shop-b": 2},
		},
		{
			"a lost ledger takes the numbers from the pods",
			aScene(12, shop).pod("shop-a", told(3, 2)).pod("shop-b", told(3, 2), toldPeer(1)).pod("shop-c", told(3, 2), toldPeer(7)), nil,
			map[string]int32{"shop-a": 2, "shop-b": 1, "shop-c": 7},
		},
		{
			"a pod is what it was told, whatever the ledger says",
			aScene(12, shop).settled("shop-a", 1, 2, toldPeer(5)).settled("shop-b", 1, 2),
			[]int32{1, 5},
			map[string]int32{"shop-a": 5, "shop-b": 1},
		},
		{
			"of two pods with one number, that keeps it which the ledger knows by it",
			aScene(12, shop).settled("shop-a", 1, 2, toldPeer(2)).settled("shop-b", 1, 2, toldPeer(2)),
			[]int32{1, 2},
			map[string]int32{"shop-a": 1, "shop-b": 2},
		},
		{
			"of two entries with one number, the first keeps it",
			aScene(12, shop).settled("shop-a", 1, 2).settled("shop-b", 1, 2),
			[]int32{4, 4},
			map[string]int32{"shop-a": 4, "shop-b": 1},
		},
		{
			"a number that PgBouncer has no room for is not taken up",
			aScene(12, shop).settled("shop-a", 1, 2, toldPeer(16384)).settled("shop-b", 1, 2, toldPeer(-1)),
			[]int32{0, 0},
			map[string]int32{"shop-a": 1, "shop-b": 2},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for i, id := range tc.recorded {
				tc.scene.ledger.Entries[i].Peer = id
			}
			next, _ := budget.Next(tc.scene.ledger, tc.scene.facts)
			got := map[string]int32{}
			for _, e := range next.Entries {
				got[e.Pod] = e.Peer
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("numbers (-want +got):\n%s", diff)
			}
			if again, _ := budget.Next(next, tc.scene.facts); fmt.Sprint(again) != fmt.Sprint(next) {
				t.Errorf("another step makes of %+v %+v", next, again)
			}
		})
	}
}
