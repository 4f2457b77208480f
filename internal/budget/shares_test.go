// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func key(name string) budget.PoolKey { return budget.PoolKey{Namespace: "apps", Name: name} }

type option func(*budget.Claim)

func aPool(name string, options ...option) budget.Claim {
	c := budget.Claim{Key: key(name), Weight: 100, Floor: 1, Replicas: 2}
	for _, o := range options {
		o(&c)
	}
	return c
}

func weighing(n int32) option { return func(c *budget.Claim) { c.Weight = n } }
func floor(n int32) option    { return func(c *budget.Claim) { c.Floor = n } }
func maximum(n int32) option  { return func(c *budget.Claim) { c.Maximum = n } }
func replicas(n int32) option { return func(c *budget.Claim) { c.Replicas = n } }
func role(name string, n int32) option {
	return func(c *budget.Claim) { c.RoleLimit = &budget.Limit{Key: name, Connections: n} }
}

func database(name string, n int32) option {
	return func(c *budget.Claim) { c.DatabaseLimit = &budget.Limit{Key: name, Connections: n} }
}

func TestShares(t *testing.T) {
	tests := []struct {
		name   string
		budget int32
		claims []budget.Claim
		want   map[string]int32
	}{
		{
			"one pool gets all", 94,
			[]budget.Claim{aPool("shop")},
			map[string]int32{"shop": 94},
		},
		{
			"two pools of weights 100 and 300 divide 90 by their weights, the odd connection goes by name", 90,
			[]budget.Claim{aPool("web", weighing(300)), aPool("jobs", weighing(100))},
			map[string]int32{"jobs": 23, "web": 67},
		},
		{
			"what a maximum leaves goes to the others", 90,
			[]budget.Claim{aPool("a"), aPool("b", maximum(10)), aPool("c")},
			map[string]int32{"a": 40, "b": 10, "c": 40},
		},
		{
			"where all pools are at their maximum, the rest stays free", 90,
			[]budget.Claim{aPool("a", maximum(20)), aPool("b", maximum(10))},
			map[string]int32{"a": 20, "b": 10},
		},
		{
			"a light pool still gets its floor", 20,
			[]budget.Claim{aPool("heavy", weighing(10000)), aPool("light", weighing(1), floor(4))},
			map[string]int32{"heavy": 16, "light": 4},
		},
		{
			"where the floors do not fit, the last by name gets nothing and the others keep theirs", 5,
			[]budget.Claim{aPool("c", floor(2)), aPool("b", floor(2)), aPool("a", floor(2))},
			map[string]int32{"a": 3, "b": 2, "c": 0},
		},
		{
			"a pool whose floor is above the budget gets nothing, and a later one that fits is served", 3,
			[]budget.Claim{aPool("a", floor(5)), aPool("b")},
			map[string]int32{"a": 0, "b": 3},
		},
		{
			"a maximum below the floor gets nothing rather than part of a floor", 90,
			[]budget.Claim{aPool("a", floor(3), maximum(2)), aPool("b")},
			map[string]int32{"a": 0, "b": 90},
		},
		{
			"one connection goes to the first by name", 1,
			[]budget.Claim{aPool("b"), aPool("a", weighing(1))},
			map[string]int32{"a": 1, "b": 0},
		},
		{
			"a budget of 0 gives nothing", 0,
			[]budget.Claim{aPool("a"), aPool("b")},
			map[string]int32{"a": 0, "b": 0},
		},
		{
			"a negative budget gives nothing", -4,
			[]budget.Claim{aPool("a")},
			map[string]int32{"a": 0},
		},
		{
			"two pools with one role share its limit, and a third takes the rest", 100,
			[]budget.Claim{aPool("a", role("app", 20)), aPool("b", role("app", 20)), aPool("c", role("other", 90))},
			map[string]int32{"a": 10, "b": 10, "c": 80},
		},
		{
			"where pools disagree on a role's limit, the lowest holds", 100,
			[]budget.Claim{aPool("a", role("app", 20)), aPool("b", role("app", 8))},
			map[string]int32{"a": 4, "b": 4},
		},
		{
			"a role and a database of one name are two limits", 100,
			[]budget.Claim{aPool("a", role("shop", 20)), aPool("b", database("shop", 30))},
			map[string]int32{"a": 20, "b": 30},
		},
		{
			"a pool under two limits gets the lower", 100,
			[]budget.Claim{aPool("a", role("app", 20), database("shop", 7)), aPool("b", role("app", 20))},
			map[string]int32{"a": 7, "b": 13},
		},
		{
			"a role's limit that has room for one floor serves the first by name", 100,
			[]budget.Claim{aPool("a", role("app", 3), floor(2)), aPool("b", role("app", 3), floor(2))},
			map[string]int32{"a": 3, "b": 0},
		},
		{
			"a pool of no replicas has no share", 10,
			[]budget.Claim{aPool("a", replicas(0)), aPool("b")},
			map[string]int32{"a": 0, "b": 10},
		},
		{
			"weight and floor below 1 count as 1", 2,
			[]budget.Claim{aPool("a", weighing(0), floor(0)), aPool("b", weighing(1))},
			map[string]int32{"a": 1, "b": 1},
		},
		{
			"a minimum goes before weights", 20,
			[]budget.Claim{aPool("a", minimum(12)), aPool("b"), aPool("c")},
			map[string]int32{"a": 12, "b": 4, "c": 4},
		},
		{
			"a minimum below a pool's part changes nothing", 20,
			[]budget.Claim{aPool("a", minimum(8)), aPool("b")},
			map[string]int32{"a": 10, "b": 10},
		},
		{
			"a new pool whose minimum does not fit gets nothing, and a later one that fits is served", 20,
			[]budget.Claim{aPool("a", minimum(12)), aPool("b", minimum(9)), aPool("c", minimum(5))},
			map[string]int32{"a": 12, "b": 0, "c": 8},
		},
		{
			"a minimum above the maximum counts as the maximum", 20,
			[]budget.Claim{aPool("a", minimum(40), maximum(12)), aPool("b")},
			map[string]int32{"a": 12, "b": 8},
		},
		{
			"the pools of a namespace share its maximum", 60,
			[]budget.Claim{aPool("a", in("jobs", 0, 10)), aPool("b", in("jobs", 0, 10)), aPool("c")},
			map[string]int32{"a": 5, "b": 5, "c": 50},
		},
		{
			"the pools of a namespace divide its weight by their own", 40,
			[]budget.Claim{aPool("a", in("jobs", 100, 0)), aPool("b", in("jobs", 100, 0), weighing(300)), aPool("c", weighing(100))},
			map[string]int32{"a": 5, "b": 15, "c": 20},
		},
		{
			"weights above the highest count as it", 40,
			[]budget.Claim{aPool("a", weighing(1<<31-1)), aPool("b", weighing(10000))},
			map[string]int32{"a": 20, "b": 20},
		},
		{"no pools", 10, nil, map[string]int32{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]int32{}
			for k, share := range budget.Shares(tt.budget, tt.claims) {
				got[k.Name] = share
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

func drawNamespace(t *rapid.T) (rule budget.NamespaceRule) {
	if rapid.Bool().Draw(t, "has the namespace a maximum") {
		rule.Maximum = rapid.Int32Range(1, 40).Draw(t, "the namespace's maximum")
	}
	if rapid.Bool().Draw(t, "has the namespace a weight") {
		rule.Weight = rapid.Int32Range(1, 10000).Draw(t, "the namespace's weight")
	}
	return rule
}

func drawClaims(t *rapid.T) []budget.Claim {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 1, 6, rapid.ID).Draw(t, "pools")
	claims := make([]budget.Claim, 0, len(names))
	apps, jobs := drawNamespace(t), drawNamespace(t)
	for _, name := range names {
		c := aPool(name, weighing(rapid.Int32Range(1, 1000).Draw(t, "weight")),
			floor(rapid.Int32Range(1, 4).Draw(t, "floor")), replicas(rapid.Int32Range(0, 4).Draw(t, "replicas")))
		if rapid.Bool().Draw(t, "has a maximum") {
			c.Maximum = rapid.Int32Range(1, 40).Draw(t, "maximum")
		}
		if rapid.Bool().Draw(t, "has a role limit") {
			r := rapid.SampledFrom([]string{"app", "other"}).Draw(t, "role")
			c.RoleLimit = &budget.Limit{Key: r, Connections: int32(10 * len(r))}
		}
		if rapid.Bool().Draw(t, "has a database limit") {
			c.DatabaseLimit = &budget.Limit{Key: "shop", Connections: 25}
		}
		if rapid.Bool().Draw(t, "has a minimum") {
			c.Minimum = rapid.Int32Range(1, 20).Draw(t, "minimum")
		}
		if c.Namespace = apps; rapid.Bool().Draw(t, "is it of another namespace") {
			c.Key.Namespace, c.Namespace = "jobs", jobs
		}
		claims = append(claims, c)
	}
	return claims
}

// spare is how many more connections a pool could have beside the others.
func spare(total int32, claims []budget.Claim, shares map[budget.PoolKey]int32, of budget.Claim) int32 {
	var sum, byRole, byDatabase, byNamespace int32
	for _, c := range claims {
		sum += shares[c.Key]
		if of.RoleLimit != nil && c.RoleLimit != nil && c.RoleLimit.Key == of.RoleLimit.Key {
			byRole += shares[c.Key]
		}
		if of.DatabaseLimit != nil && c.DatabaseLimit != nil {
			byDatabase += shares[c.Key]
		}
		if of.Key.Namespace == c.Key.Namespace {
			byNamespace += shares[c.Key]
		}
	}
	left := total - sum
	if of.Maximum > 0 {
		left = min(left, of.Maximum-shares[of.Key])
	}
	if of.Namespace.Maximum > 0 {
		left = min(left, of.Namespace.Maximum-byNamespace)
	}
	if of.RoleLimit != nil {
		left = min(left, of.RoleLimit.Connections-byRole)
	}
	if of.DatabaseLimit != nil {
		left = min(left, of.DatabaseLimit.Connections-byDatabase)
	}
	return left
}

// least is what a new pool starts with.
func least(c budget.Claim) int32 {
	if c.Maximum > 0 {
		return max(c.Floor, min(c.Minimum, c.Maximum))
	}
	return max(c.Floor, c.Minimum)
}

// weight is a pool's by itself, or its part of its namespace's beside the other
// pools that have a share.
func weight(c budget.Claim, claims []budget.Claim, shares map[budget.PoolKey]int32) float64 {
	if c.Namespace.Weight == 0 {
		return float64(c.Weight)
	}
	var sum float64
	for _, other := range claims {
		if other.Key.Namespace == c.Key.Namespace && shares[other.Key] > 0 {
			sum += float64(other.Weight)
		}
	}
	return float64(c.Weight) * float64(c.Namespace.Weight) / sum
}

func TestSharesKeepEveryBoundAndLeaveNothingThatAPoolCouldTake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		shares := budget.Shares(total, claims)
		for _, c := range claims {
			share := shares[c.Key]
			left := spare(total, claims, shares, c)
			switch {
			case left < 0:
				t.Fatalf("pool %s: a bound is exceeded by %d: %v", c.Key.Name, -left, shares)
			case share > 0 && share < least(c):
				t.Fatalf("pool %s got %d, less than the %d it starts with", c.Key.Name, share, least(c))
			case share > 0 && left > 0:
				t.Fatalf("pool %s could have %d more: %v", c.Key.Name, left, shares)
			case share == 0 && c.Replicas > 0 && left >= least(c):
				t.Fatalf("pool %s got nothing, and what it starts with fits: %v", c.Key.Name, shares)
			}
		}
	})
}

func TestSharesAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		shares := budget.Shares(total, claims)
		for _, poor := range claims {
			for _, rich := range claims {
				gives := shares[rich.Key] - 1
				if shares[poor.Key] == 0 || gives < least(rich) {
					continue
				}
				moved := maps.Clone(shares)
				moved[rich.Key] = gives
				// The poor could take what the rich gives up, and would still have less for
				// its weight than the rich would be left with.
				if spare(total, claims, moved, poor) > 0 &&
					float64(shares[poor.Key]+1)*weight(rich, claims, shares) < float64(gives)*weight(poor, claims, shares)*(1-1e-9) {
					t.Fatalf("%s should have one of %s: %v", poor.Key.Name, rich.Key.Name, shares)
				}
			}
		}
	})
}

func TestSharesOfTheSameClaimsInAnotherOrderAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int32Range(0, 100).Draw(t, "budget")
		claims := drawClaims(t)
		shuffled := rapid.Permutation(claims).Draw(t, "shuffled")
		if diff := cmp.Diff(budget.Shares(total, claims), budget.Shares(total, shuffled)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestALargerBudgetTakesNothingFromAPoolThatHasItsFloorAndWeightAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "pools")
		var claims []budget.Claim
		for i := range n {
			claims = append(claims, aPool(string(rune('a'+i)), weighing(rapid.Int32Range(1, 1000).Draw(t, "weight"))))
		}
		total := rapid.Int32Range(int32(n), 200).Draw(t, "budget")
		before, after := budget.Shares(total, claims), budget.Shares(total+1, claims)
		for k := range before {
			if after[k] < before[k] {
				t.Fatalf("pool %s has %d of %d and %d of %d", k.Name, before[k], total, after[k], total+1)
			}
		}
	})
}

func TestPodsThatFit(t *testing.T) {
	for _, tt := range []struct {
		name                         string
		share, floor, replicas, want int32
	}{
		{"all that the spec asks for, where their floors fit", 10, 2, 3, 3},
		{"as many as have a floor", 5, 2, 3, 2},
		{"none without a floor", 1, 2, 3, 0},
		{"none of a pool of no replicas", 10, 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := budget.PodsThatFit(tt.share, tt.floor, tt.replicas); got != tt.want {
				t.Errorf("PodsThatFit(%d, %d, %d) = %d, want %d", tt.share, tt.floor, tt.replicas, got, tt.want)
			}
		})
	}
}
