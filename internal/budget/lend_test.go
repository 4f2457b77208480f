// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func minimum(n int32) option { return func(c *budget.Claim) { c.Minimum = n } }
func needs(n int32) option   { return func(c *budget.Claim) { c.Need = &n } }
func keeps(c *budget.Claim)  { c.Keeps = true }
func in(namespace string, weight, maximum int32) option {
	return func(c *budget.Claim) {
		c.Key.Namespace = namespace
		c.Namespace = budget.NamespaceRule{Weight: weight, Maximum: maximum}
	}
}

func byName(shares map[budget.PoolKey]int32) map[string]int32 {
	names := make(map[string]int32, len(shares))
	for k, share := range shares {
		names[k.Name] = share
	}
	return names
}

func byKey(names map[string]int32) map[budget.PoolKey]int32 {
	keys := make(map[budget.PoolKey]int32, len(names))
	for name, n := range names {
		keys[key(name)] = n
	}
	return keys
}

func TestLoans(t *testing.T) {
	tests := []struct {
		name   string
		budget int32
		claims []budget.Claim
		has    map[string]int32
		want   map[string]int32
	}{
		{
			"where nobody needs more than its part, nothing moves, whatever is idle", 20,
			[]budget.Claim{aPool("a", needs(0)), aPool("b", needs(10))},
			nil,
			map[string]int32{"a": 10, "b": 10},
		},
		{
			"what one pool leaves idle goes to one that needs more, and no more than that", 20,
			[]budget.Claim{aPool("a", needs(3)), aPool("b", needs(14))},
			nil,
			map[string]int32{"a": 6, "b": 14},
		},
		{
			"a lender keeps what it needs", 20,
			[]budget.Claim{aPool("a", needs(3)), aPool("b", needs(90))},
			nil,
			map[string]int32{"a": 3, "b": 17},
		},
		{
			"a lender keeps its minimum", 20,
			[]budget.Claim{aPool("a", needs(3), minimum(8)), aPool("b", needs(90))},
			nil,
			map[string]int32{"a": 8, "b": 12},
		},
		{
			"a lender keeps a floor for each of its pods", 20,
			[]budget.Claim{aPool("a", needs(0), floor(2), replicas(4)), aPool("b", needs(90))},
			nil,
			map[string]int32{"a": 8, "b": 12},
		},
		{
			"two that need more divide a loan by their weights", 40,
			[]budget.Claim{aPool("a", needs(90), weighing(100)), aPool("b", needs(90), weighing(200)), aPool("c", needs(4), weighing(100))},
			nil,
			map[string]int32{"a": 12, "b": 24, "c": 4},
		},
		{
			"a pool that could not give a loan back borrows nothing, but lends", 30,
			[]budget.Claim{aPool("a", needs(90), keeps), aPool("b", needs(90)), aPool("c", needs(4), keeps)},
			nil,
			map[string]int32{"a": 10, "b": 16, "c": 4},
		},
		{
			"a loan stays within the maximum of who borrows", 20,
			[]budget.Claim{aPool("a", needs(2)), aPool("b", needs(90), maximum(12))},
			nil,
			map[string]int32{"a": 8, "b": 12},
		},
		{
			"a role's limit holds for loans; within it they move", 40,
			[]budget.Claim{aPool("a", needs(2), role("app", 12)), aPool("b", needs(90), role("app", 12)), aPool("c", needs(2))},
			nil,
			map[string]int32{"a": 2, "b": 10, "c": 28},
		},
		{
			"a namespace's maximum holds for loans", 40,
			[]budget.Claim{aPool("a", needs(90), in("jobs", 0, 12)), aPool("b", needs(2))},
			nil,
			map[string]int32{"a": 12, "b": 28},
		},
		{
			"while nobody's need is known, loans stay as they are", 20,
			[]budget.Claim{aPool("a"), aPool("b")},
			map[string]int32{"a": 4, "b": 16},
			map[string]int32{"a": 4, "b": 16},
		},
		{
			"a pool that wants what it lent gets it back from one of which nothing is known", 20,
			[]budget.Claim{aPool("a", needs(9)), aPool("b")},
			map[string]int32{"a": 4, "b": 16},
			map[string]int32{"a": 9, "b": 11},
		},
		{
			"a pool that has nothing gets its part, from those that borrowed", 30,
			[]budget.Claim{aPool("a"), aPool("b"), aPool("c", needs(2))},
			map[string]int32{"b": 26, "c": 4},
			map[string]int32{"a": 10, "b": 18, "c": 2},
		},
		{
			"a need below 0 is none", 20,
			[]budget.Claim{aPool("a", needs(-5)), aPool("b", needs(90))},
			nil,
			map[string]int32{"a": 2, "b": 18},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := byName(budget.Lent(tt.budget, tt.claims, byKey(tt.has), nil))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

func drawNeeds(t *rapid.T, claims []budget.Claim, need *rapid.Generator[int32]) {
	for i := range claims {
		claims[i].Need = nil
		if rapid.IntRange(0, 4).Draw(t, "is its need known") > 0 {
			claims[i].Need = new(need.Draw(t, "need"))
		}
		claims[i].Keeps = rapid.IntRange(0, 3).Draw(t, "does it keep") == 0
	}
}

func drawHas(t *rapid.T, claims []budget.Claim) map[budget.PoolKey]int32 {
	has := map[budget.PoolKey]int32{}
	for _, c := range claims {
		has[c.Key] = rapid.Int32Range(0, 30).Draw(t, "has")
	}
	return has
}

func TestOrdinaryDemandMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		entitled := budget.Entitled(total, claims)
		for i := range claims {
			claims[i].Need = new(rapid.Int32Range(0, entitled[claims[i].Key]).Draw(t, "need"))
		}
		if diff := cmp.Diff(entitled, budget.Lent(total, claims, drawHas(t, claims), nil)); diff != "" {
			t.Fatalf("nobody needs more than its part, and something moves (-part +share):\n%s", diff)
		}
	})
}

func TestLoansHurtNobodyAndUseWhatIsIdle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		drawNeeds(t, claims, rapid.Int32Range(0, 60))
		has := drawHas(t, claims)
		entitled, shares := budget.Entitled(total, claims), budget.Lent(total, claims, has, nil)
		for _, c := range claims {
			checkLoan(t, c, has[c.Key], entitled[c.Key], shares[c.Key])
			if left := spare(total, claims, shares, c); left < 0 {
				t.Fatalf("pool %s: a loan exceeds a bound by %d: %v", c.Key.Name, -left, shares)
			}
		}
		checkNothingIdle(t, total, claims, entitled, shares)
	})
}

// checkLoan holds what a pool gives and takes against what it may.
func checkLoan(t *rapid.T, c budget.Claim, has, entitled, share int32) {
	wants := entitled
	switch {
	case c.Need != nil:
		wants = *c.Need
	case has > 0:
		wants = has
	}
	pods := budget.PodsThatFit(entitled, c.Floor, c.Replicas)
	switch {
	case share > entitled && (c.Keeps || share > wants):
		t.Fatalf("pool %s has %d, is entitled to %d and wants %d: %+v", c.Key.Name, share, entitled, wants, c)
	case share < entitled && share < wants:
		t.Fatalf("pool %s is entitled to %d, wants %d and has %d", c.Key.Name, entitled, wants, share)
	case share < entitled && share < min(c.Minimum, entitled):
		t.Fatalf("pool %s lends of its minimum of %d: it has %d", c.Key.Name, c.Minimum, share)
	case budget.PodsThatFit(share, c.Floor, c.Replicas) < pods:
		t.Fatalf("pool %s had floors for %d pods of its own, and has %d: %+v", c.Key.Name, pods, share, c)
	}
}

// checkNothingIdle looks for a connection that a lender could still give to one who
// needs it.
func checkNothingIdle(t *rapid.T, total int32, claims []budget.Claim, entitled, shares map[budget.PoolKey]int32) {
	for _, poor := range claims {
		if poor.Keeps || poor.Need == nil || shares[poor.Key] == 0 || shares[poor.Key] >= *poor.Need {
			continue
		}
		for _, rich := range claims {
			keeps := max(rich.Minimum, rich.Floor*budget.PodsThatFit(entitled[rich.Key], rich.Floor, rich.Replicas))
			if rich.Need == nil || shares[rich.Key] <= max(keeps, *rich.Need) || shares[rich.Key] > entitled[rich.Key] {
				continue
			}
			shares[rich.Key]--
			if spare(total, claims, shares, poor) > 0 {
				t.Fatalf("%s needs one that %s leaves idle: %v, entitled %v", poor.Key.Name, rich.Key.Name, shares, entitled)
			}
			shares[rich.Key]++
		}
	}
}

func TestLoansOfTheSameClaimsInAnotherOrderAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		drawNeeds(t, claims, rapid.Int32Range(0, 60))
		has := drawHas(t, claims)
		shuffled := rapid.Permutation(claims).Draw(t, "shuffled")
		if diff := cmp.Diff(budget.Lent(total, claims, has, nil), budget.Lent(total, shuffled, has, nil)); diff != "" {
			t.Fatal(diff)
		}
	})
}
