// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package manifests knows which Kubernetes objects a ConnectionPool consists of
// and what stands in them. It turns plain values into apply configurations; it
// sees no cluster, keeps no state and can not fail: whatever can be wrong with a
// pool is refused before.
package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Inputs is everything that a pool's objects depend on.
type Inputs struct {
	// Pool is the ConnectionPool that owns the objects.
	Pool Owner
	// Replicas is how many poolers run: the spec's number, bounded by what the
	// server's budget can carry.
	Replicas int32
	// Image is the pooler image.
	Image string
	// ImagePullPolicy for it; empty leaves the choice to Kubernetes.
	ImagePullPolicy corev1.PullPolicy

	// Service, Secret, Pod, Rollout, PodDisruptionBudget and NetworkPolicy are the pool's spec.
	Service             poolv1.PoolService
	Secret              poolv1.PublishedSecret
	Pod                 poolv1.PodOverrides
	Rollout             poolv1.Rollout
	PodDisruptionBudget poolv1.PoolDisruptionBudget
	NetworkPolicy       poolv1.PoolNetworkPolicy

	// Upstream is the name of the server's Upstream: pods belong to one ledger for life.
	Upstream string
	// UpstreamPort is the server's port, which a NetworkPolicy must let the poolers reach.
	UpstreamPort int32
	// OperatorNamespace is where the operator runs, which a NetworkPolicy must let in.
	OperatorNamespace string
	// ScraperNamespaces are those whose pods may read the poolers' figures, which a
	// NetworkPolicy must let in; empty is all.
	ScraperNamespaces []string

	// AtEdge is whether the gateway, which runs beside the operator, serves the pool.
	AtEdge bool
	// LookedUp is whether clients are looked up at the server (authentication mode Query).
	LookedUp bool
	// Config is the encoded configuration document for the poolers.
	Config []byte
	// ConfigRevision names its bytes.
	ConfigRevision string
	// Credentials is what clients may log in with, encoded. No pod mounts it.
	Credentials []byte
	// Published is the data of the Secret that applications read.
	Published map[string][]byte
}

// Owner is what the objects need to know about their ConnectionPool.
type Owner struct {
	Name      string
	Namespace string
	UID       types.UID
}

// FromPool returns the inputs that are a straight copy of the pool: its identity,
// the parts of its spec that shape objects, and its image where it names one. All
// else is for the caller to fill in.
func FromPool(pool *poolv1.ConnectionPool) Inputs {
	return Inputs{
		Pool:                Owner{Name: pool.Name, Namespace: pool.Namespace, UID: pool.UID},
		Image:               pool.Spec.Image,
		Service:             pool.Spec.Service,
		Secret:              pool.Spec.Secret,
		Pod:                 pool.Spec.Pod,
		Rollout:             pool.Spec.Rollout,
		PodDisruptionBudget: pool.Spec.PodDisruptionBudget,
		NetworkPolicy:       pool.Spec.NetworkPolicy,
		AtEdge:              pool.Spec.Edge.Mode == poolv1.EdgeEnabled,
		LookedUp:            pool.Spec.Authentication.Mode == poolv1.AuthenticationQuery,
	}
}
