// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edgename_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/edgename"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func aClaim(namespace, name, wanted string, after time.Duration) edgename.Claim {
	return edgename.Claim{
		Namespace: namespace, Name: name, Created: noon.Add(after),
		Label: edgename.Label(namespace, name, wanted),
	}
}

func TestAPoolIsCalledAsItsSpecSaysOrByItsNameAndNamespace(t *testing.T) {
	if got := edgename.Label("web", "shop", ""); got != "shop-web" {
		t.Errorf("by default it is called %q", got)
	}
	if got := edgename.Label("web", "shop", "store"); got != "store" {
		t.Errorf("a pool that is to be called store is called %q", got)
	}
}

func TestALabelIsValidWhereDNSTakesItAndNobodyElseNeedsIt(t *testing.T) {
	for name, valid := range map[string]bool{
		"shop-web": true, "s": true, "1": true, "a--b": true, strings.Repeat("x", 63): true, "api-web": true,
		"": false, "-shop": false, "shop-": false, "shop.web": false, "Shop": false, "shop_web": false, "shop\n": false,
		strings.Repeat("x", 64): false, "api": false, "apiauth": false,
	} {
		if edgename.Valid(name) != valid {
			t.Errorf("valid: %q should be %v", name, valid)
		}
	}
}

func TestTheOlderPoolHasTheNameAndThenTheFirstByNamespaceAndName(t *testing.T) {
	older, younger := aClaim("z", "z", "store", 0), aClaim("a", "a", "store", time.Second)
	twin, otherTwin := aClaim("a", "b-c", "", 0), aClaim("c-a", "b", "", 0)
	dotted, reserved := aClaim("web", "shop.eu", "", 0), aClaim("web", "shop", "api", 0)
	got := edgename.Holders([]edgename.Claim{younger, older, otherTwin, twin, dotted, reserved})
	if diff := cmp.Diff(map[string]edgename.Claim{"store": older, "b-c-a": twin}, got); diff != "" {
		t.Error(diff)
	}
}

func TestANameGoesToTheNextWhenItsHolderIsGone(t *testing.T) {
	older, younger := aClaim("z", "z", "store", 0), aClaim("a", "a", "store", time.Second)
	if got, held := edgename.Holder("store", []edgename.Claim{younger, older}); !held || got != older {
		t.Errorf("the older one should have it, but %+v has: %v", got, held)
	}
	if got, held := edgename.Holder("store", []edgename.Claim{younger}); !held || got != younger {
		t.Errorf("the one that is left should have it, but %+v has: %v", got, held)
	}
	if got, held := edgename.Holder("store", []edgename.Claim{aClaim("a", "a", "other", 0)}); held {
		t.Errorf("nobody asked for it, but %+v has it", got)
	}
}

func TestWhoHasANameDoesNotDependOnTheOrderOfThePools(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) edgename.Claim {
			return aClaim(rapid.SampledFrom([]string{"a", "b", "a-b"}).Draw(t, "namespace"), rapid.SampledFrom([]string{"a", "b", "b-a"}).Draw(t, "name"),
				rapid.SampledFrom([]string{"", "", "store"}).Draw(t, "wanted"), time.Duration(rapid.IntRange(0, 1).Draw(t, "age"))*time.Second)
		}), func(c edgename.Claim) [2]string { return [2]string{c.Namespace, c.Name} }).Draw(t, "claims")
		shuffled := rapid.Permutation(claims).Draw(t, "shuffled")
		if diff := cmp.Diff(edgename.Holders(claims), edgename.Holders(shuffled)); diff != "" {
			t.Fatal(diff)
		}
	})
}
