// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import "cmp"

// PoolKey names a ConnectionPool.
type PoolKey struct{ Namespace, Name string }

// Compare orders keys by namespace, then name.
func (k PoolKey) Compare(other PoolKey) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name))
}

// Limit is a CONNECTION LIMIT at the server, which all pools that name the same
// Key share. Source: pg_roles.rolconnlimit and pg_database.datconnlimit; their -1
// is no Limit.
type Limit struct {
	// Key is the role or the database. Roles and databases do not meet, so one name
	// may be both.
	Key string
	// Connections is how many; where pools disagree the lowest holds.
	Connections int32
}

// NamespaceRule is the administrator's word on all pools of one namespace
// together. The zero value is none.
type NamespaceRule struct {
	// Weight is shared by the namespace's pools in proportion to their own weights; 0
	// lets each pool weigh by itself.
	Weight int32
	// Maximum is what they take at most together; 0 is none.
	Maximum int32
}

// Claim is what one pool asks of its server.
type Claim struct {
	Key PoolKey
	// Weight is the pool's part beside the other pools, from 1 to 10000; what is
	// outside counts as the nearest.
	Weight int32
	// Floor is the least one of its pods can run with: one for each database. Below 1
	// counts as 1.
	Floor int32
	// Minimum is what the pool is kept for whatever others want, once its pods have
	// started; a pool that is not running starts when its Minimum fits. 0 is none, and
	// above Maximum counts as Maximum.
	Minimum int32
	// Maximum is what the pool takes at most, draining pods included; 0 is none.
	Maximum int32
	// Need is how many connections the pool's clients have use for, over all its pods;
	// nil while that is not known: then what the pool has lent or borrowed stays so. It
	// decides what is lent, and nothing else.
	Need *int32
	// Keeps is true for a pool that could not give a loan back when it is asked to
	// (session mode): it gets no more than it is entitled to.
	Keeps bool
	// Namespace is what the server's administrator says of the pool's namespace.
	Namespace NamespaceRule
	// Replicas is how many pods the pool's spec asks for. A pool of 0 has no share.
	Replicas int32
	// RoleLimit and DatabaseLimit bind the pool together with the others under them.
	RoleLimit, DatabaseLimit *Limit
	// Config is the revision of the configuration to grant. Empty leaves pods with
	// the one they have.
	Config string
}

// Shares divides budget over claims of pools that do not run yet: weighted max-min
// fair, with nothing left over while a pool could take it, and nothing lent. Each
// pool gets at least its floor and its Minimum, or nothing: when they do not all
// fit, they are given in order of name, and a pool for which there is too little
// yields. It never gets more than its Maximum, and pools under one Limit or in one
// namespace together never more than that.
//
// Rounding takes the pool that is furthest below its exact share (Webster's
// method, ties by name). Unlike the largest remainder it never takes a connection
// from a pool because the budget grew, and for two pools it is the same.
func Shares(budget int32, claims []Claim) map[PoolKey]int32 {
	bids := make([]*bid, 0, len(claims))
	for _, c := range claims {
		bids = append(bids, &bid{Claim: c})
	}
	return divide(budget, bids).live()
}

// PodsThatFit is how many of a pool's replicas its share can serve. floor below 1
// counts as 1.
func PodsThatFit(share, floor, replicas int32) int32 {
	return max(min(replicas, share/max(floor, 1)), 0)
}

// part is what the i-th of n gets of share; nothing from the n-th on.
func part(share, n, i int32) int32 {
	switch {
	case i >= n:
		return 0
	case i < share%n:
		return share/n + 1
	default:
		return share / n
	}
}
