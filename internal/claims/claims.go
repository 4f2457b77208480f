// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package claims knows what a ConnectionPool's spec, and the administrator's word on its
// server, claim of that server's budget. It turns objects into values: it divides
// nothing, and reaches no cluster and no server.
package claims

import (
	"cmp"
	"slices"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
)

const (
	defaultWeight   = 100
	defaultReplicas = 2
)

// Of turns pools into claims. A pool that may not use the server, or that is being
// deleted, claims nothing. Without an upstream, nothing is known of its administrator's word.
func Of(upstream *poolv1.Upstream, pools []poolv1.ConnectionPool) []budget.Claim {
	claims := make([]budget.Claim, 0, len(pools))
	for i := range pools {
		pool := &pools[i]
		if !pool.DeletionTimestamp.IsZero() || upstream != nil && !Allowed(upstream, pool.Namespace) {
			continue
		}
		claims = append(claims, budget.Claim{
			Key:           budget.PoolKey{Namespace: pool.Namespace, Name: pool.Name},
			Weight:        cmp.Or(pool.Spec.ServerConnections.Weight, defaultWeight),
			Minimum:       pool.Spec.ServerConnections.Minimum,
			Maximum:       pool.Spec.ServerConnections.Maximum,
			Keeps:         pool.Spec.Mode == poolv1.PoolModeSession,
			Namespace:     ruleFor(upstream, pool.Namespace),
			Floor:         int32(max(1, len(pool.Spec.Databases))), //nolint:gosec // At most 32 by the CRD.
			Replicas:      Replicas(pool),
			RoleLimit:     limitOf(pool.Status.Upstream.Role, pool.Status.Upstream.RoleConnectionLimit),
			DatabaseLimit: limitOf(pool.Status.Upstream.Database, pool.Status.Upstream.DatabaseConnectionLimit),
			Config:        pool.Status.ConfigRevision,
		})
	}
	return slices.Clip(claims)
}

// OfAccount is the claim of a pool that only its line in the account tells of: its
// present share is what it asks for.
func OfAccount(a poolv1.PoolAccount) budget.Claim {
	return budget.Claim{
		Key:    budget.PoolKey{Namespace: a.Namespace, Name: a.Name},
		Weight: a.Weight, Floor: a.Floor, Replicas: 1,
	}
}

// Allowed reports whether the pools of a namespace may use a server.
func Allowed(upstream *poolv1.Upstream, namespace string) bool {
	list := upstream.Spec.AllowedNamespaces
	return len(list) == 0 || slices.Contains(list, namespace)
}

// Replicas is how many poolers a pool asks for.
func Replicas(pool *poolv1.ConnectionPool) int32 {
	if pool.Spec.Replicas == nil {
		return defaultReplicas
	}
	return *pool.Spec.Replicas
}

// ruleFor is the administrator's word on a namespace.
func ruleFor(upstream *poolv1.Upstream, namespace string) budget.NamespaceRule {
	if upstream == nil {
		return budget.NamespaceRule{}
	}
	for _, n := range upstream.Spec.Namespaces {
		if n.Name == namespace {
			return budget.NamespaceRule{Weight: n.Weight, Maximum: n.Maximum}
		}
	}
	return budget.NamespaceRule{}
}

// limitOf is a CONNECTION LIMIT that all pools with the same role or database share.
func limitOf(name string, connections *int32) *budget.Limit {
	if connections == nil || name == "" {
		return nil
	}
	return &budget.Limit{Key: name, Connections: *connections}
}
