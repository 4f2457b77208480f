// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package edgename decides which pool has which name under the gateway's domain, so
// that the operator publishes what the gateway serves. It knows no Kubernetes and no
// clock.
package edgename

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// label is a DNS label in lower case (RFC 1123, section 2.1).
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Label is what a pool is called under the gateway's domain: the wanted name,
// spec.edge.name, or by default POOL-NAMESPACE. It may be invalid.
func Label(namespace, pool, wanted string) string {
	return cmp.Or(wanted, pool+"-"+namespace)
}

// Valid is whether a label can be a pool's: it is a DNS label of at most 63 characters,
// and neither api nor apiauth, where the Neon serverless driver sends its requests.
func Valid(name string) bool {
	return label.MatchString(name) && name != "api" && name != "apiauth"
}

// Claim is a pool's wish to be called by a label. A pool claims for as long as it
// exists and spec.edge.mode is Enabled.
type Claim struct {
	Namespace string
	// Name is the pool's.
	Name string
	// Label is the one that Label gives.
	Label string
	// Created is metadata.creationTimestamp.
	Created time.Time
}

// Before is whether the claim goes before another of the same label: that of the older
// pool does, and among pools of one second the one first by namespace and name.
func (c Claim) Before(other Claim) bool {
	return cmp.Or(
		c.Created.Compare(other.Created),
		strings.Compare(c.Namespace, other.Namespace),
		strings.Compare(c.Name, other.Name),
	) < 0
}

// Holders returns who has which label. Labels that are not valid have no holder.
func Holders(claims []Claim) map[string]Claim {
	holders := map[string]Claim{}
	for _, claim := range claims {
		holder, held := holders[claim.Label]
		if Valid(claim.Label) && (!held || claim.Before(holder)) {
			holders[claim.Label] = claim
		}
	}
	return holders
}

// Holder returns who has one label, and whether anybody has.
func Holder(name string, claims []Claim) (Claim, bool) {
	holder, held := Holders(slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return c.Label != name }))[name]
	return holder, held
}
