// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import "math"

// scope is a sum that is bounded: the whole budget, a role, a database, a
// namespace, a pool.
type scope struct {
	kind, key string
	pool      PoolKey
}

// room is what is left under each bound.
type room struct {
	bounds map[scope]*int64
}

// path is the bounds that one claim is under.
type path []*int64

func newRoom(budget int32) *room {
	return &room{bounds: map[scope]*int64{{kind: "budget"}: new(int64(max(budget, 0)))}}
}

// add makes the bounds of a claim known.
func (r *room) add(c Claim) {
	if c.Maximum > 0 {
		r.lower(scope{kind: "pool", pool: c.Key}, c.Maximum)
	}
	if c.Namespace.Maximum > 0 {
		r.lower(scope{kind: "namespace", key: c.Key.Namespace}, c.Namespace.Maximum)
	}
	if l := c.RoleLimit; l != nil {
		r.lower(scope{kind: "role", key: l.Key}, l.Connections)
	}
	if l := c.DatabaseLimit; l != nil {
		r.lower(scope{kind: "database", key: l.Key}, l.Connections)
	}
}

func (r *room) lower(s scope, to int32) {
	if now := r.bounds[s]; now == nil || int64(to) < *now {
		r.bounds[s] = new(int64(max(to, 0)))
	}
}

// path finds the bounds of a claim. All claims have been added by then; a pool
// without one is still under the bounds of its namespace.
func (r *room) path(c Claim) path {
	scopes := []scope{{kind: "budget"}, {kind: "pool", pool: c.Key}, {kind: "namespace", key: c.Key.Namespace}}
	if c.RoleLimit != nil {
		scopes = append(scopes, scope{kind: "role", key: c.RoleLimit.Key})
	}
	if c.DatabaseLimit != nil {
		scopes = append(scopes, scope{kind: "database", key: c.DatabaseLimit.Key})
	}
	var p path
	for _, s := range scopes {
		if bound := r.bounds[s]; bound != nil {
			p = append(p, bound)
		}
	}
	return p
}

// left is how many connections may still be taken; negative where a bound is
// already exceeded.
func (p path) left() int32 {
	least := int64(math.MaxInt32)
	for _, bound := range p {
		least = min(least, *bound)
	}
	return int32(max(least, math.MinInt32))
}

// take uses n of every bound.
func (p path) take(n int32) {
	for _, bound := range p {
		*bound -= int64(n)
	}
}
