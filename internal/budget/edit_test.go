// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func TestWhatSomebodyChangedByHandIsMended(t *testing.T) {
	shop := func(options ...option) budget.Claim { return aPool("shop", options...) }
	tests := []struct {
		name  string
		scene *scene
		want  map[string]string
	}{
		{
			"an entry that was lowered is raised to what its pod runs with, and granted anew",
			aScene(10, shop(), aPool("web")).entry("shop-a", 3, 2, 2).pod("shop-a", told(3, 5), saying(3, 5, 5)).pod("web-a", unready),
			map[string]string{"shop-a": "4:5/5", "web-a": "4:5/5"},
		},
		{
			"also where its pod does not answer",
			aScene(10, shop(), aPool("web")).entry("shop-a", 3, 2, 2).pod("shop-a", told(3, 8)).pod("web-a", unready),
			map[string]string{"shop-a": "4:5/8", "web-a": "4:2/2"},
		},
		{
			"where held alone was lowered, the pod's word is believed",
			aScene(10, shop()).entry("shop-a", 3, 5, 2).pod("shop-a", told(3, 5), saying(3, 5, 7)).settled("shop-b", 2, 5, told(2, 5)),
			map[string]string{"shop-a": "4:5/7", "shop-b": "2:5/5"},
		},
		{
			"an entry that allows more than its pod was told",
			aScene(10, shop(maximum(5))).entry("shop-a", 3, 9, 5).pod("shop-a", told(3, 5)),
			map[string]string{"shop-a": "4:5/5"},
		},
		{
			"an annotation that was raised is counted, and its pod granted anew",
			aScene(10, shop()).settled("shop-a", 3, 5, told(3, 9)).settled("shop-b", 2, 5, told(2, 5)),
			map[string]string{"shop-a": "4:5/9", "shop-b": "2:5/5"},
		},
		{
			"an annotation that unparks a pod is counted, and taken back",
			aScene(2, shop(floor(2))).entry("shop-a", 3, 0, 0).pod("shop-a", unready, told(3, 4)).settled("shop-b", 4, 2, told(4, 2)),
			map[string]string{"shop-a": "5:0/4", "shop-b": "4:2/2"},
		},
		{
			"an annotation with a higher number is believed, and what its pod had before too",
			aScene(10, shop()).settled("shop-a", 3, 5, told(8, 1)).settled("shop-b", 2, 5, told(2, 5)),
			map[string]string{"shop-a": "9:5/5", "shop-b": "2:5/5"},
		},
		{
			"an annotation beyond what any server has does not upset the sums",
			aScene(10, shop(), aPool("web")).settled("shop-a", 3, 5, told(3, 1<<31-1)).settled("shop-b", 2, 5, told(2, 1<<31-1)),
			map[string]string{"shop-a": "4:5/262143", "shop-b": "4:5/262143"},
		},
		{
			"an entry that was removed comes back with all that its pod has",
			aScene(10, shop(), aPool("web")).pod("shop-a", told(7, 3), saying(6, 9, 9)).pod("web-a", unready),
			map[string]string{"shop-a": "8:5/9", "web-a": "8:1/1"},
		},
		{
			"a number above the ledger's own is never given again",
			aScene(10, shop()).entry("shop-a", 3, 5, 5).counting(1).pod("shop-a", told(3, 5)).pod("shop-b", unready),
			map[string]string{"shop-a": "3:5/5", "shop-b": "4:5/5"},
		},
		{
			"a pod that ends is not granted anew, but what it has counts",
			aScene(10, shop()).entry("shop-a", 3, 1, 1).pod("shop-a", terminating, told(3, 5), saying(3, 5, 5)).settled("shop-b", 2, 5),
			map[string]string{"shop-a": "3:1/5", "shop-b": "2:5/5"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, _ := budget.Next(tt.scene.ledger, tt.scene.facts)
			if diff := cmp.Diff(tt.want, show(next)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func (s *scene) counting(gen int64) *scene { s.ledger.Gen = gen; return s }

// edit changes by hand what nobody should.
func edit(t *rapid.T, w *world) {
	upTo := func(most int32, what string) int32 { return rapid.Int32Range(0, most).Draw(t, what) }
	entry := func() int { return rapid.IntRange(0, len(w.ledger.Entries)-1).Draw(t, "entry") }
	w.version++
	switch kind := rapid.IntRange(0, 6).Draw(t, "what is edited"); {
	case kind == 0:
		w.ledger = budget.Ledger{}
	case kind == 1 && len(w.pods) > 0:
		p := rapid.SampledFrom(w.pods).Draw(t, "pod")
		if p.annotation != nil {
			raised := *p.annotation
			raised.Share += rapid.Int32Range(1, 20).Draw(t, "more")
			raised.Gen += rapid.Int64Range(0, 2).Draw(t, "number")
			p.annotation = &raised
		}
	case len(w.ledger.Entries) == 0:
	case kind == 2:
		i := entry()
		w.ledger.Entries = append(w.ledger.Entries[:i:i], w.ledger.Entries[i+1:]...)
	case kind == 3:
		e := &w.ledger.Entries[entry()]
		e.Granted, e.Held = upTo(e.Granted, "granted"), upTo(e.Held, "held")
	case kind == 4:
		e := &w.ledger.Entries[entry()]
		e.Gen = rapid.Int64Range(0, e.Gen).Draw(t, "number")
	case kind == 5:
		w.ledger.Entries[entry()].Granted += upTo(20, "more")
	default:
		e := &w.ledger.Entries[entry()]
		e.Held = upTo(e.Held, "held")
	}
}

// may is what a pod can come to without another word from anybody.
func may(p *pod) int32 {
	most := max(p.cap, p.current)
	if p.annotation != nil && p.annotation.Gen >= p.gen && !p.terminated {
		most = max(most, p.annotation.Share)
	}
	return most
}

func (w *world) may() (sum int32) {
	for _, p := range w.pods {
		sum += may(p)
	}
	return sum
}

func TestTheBudgetHoldsAgainAfterWhateverSomebodyChangedByHand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.calm(t)
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			edit(t, w)
			if rapid.Bool().Draw(t, "does it reach the pods first") {
				w.settle()
			}
		}
		for range 3 {
			over := w.may() > w.budget
			had := map[string]int32{}
			for _, p := range w.pods {
				had[p.uid] = may(p)
			}
			w.pass()
			for _, e := range w.ledger.Entries {
				if over && e.Granted > had[e.UID] {
					t.Fatalf("%s is raised from %d to %d while pods may have more than the budget: %s", e.UID, had[e.UID], e.Granted, w)
				}
			}
			checkWorld(t, w)
			w.settle()
			checkWorld(t, w)
		}
		w.calm(t)
		checkFair(t, w)
		if held(w.ledger, everyEntry) <= w.budget && w.may() > w.budget {
			t.Fatalf("pods may have %d of %d: %s", w.may(), w.budget, w)
		}
	})
}
