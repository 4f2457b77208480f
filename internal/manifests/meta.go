// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Field owners: each of the two reconcilers has its own, so that the API server
// keeps them out of each other's fields.
const (
	// PoolFieldOwner owns a pool's objects and its status.
	PoolFieldOwner = "poolfleet/pool"
	// BudgetFieldOwner owns ledgers and grants.
	BudgetFieldOwner = "poolfleet/budget"
)

// Keys of labels and annotations.
const (
	// PoolLabel holds the name of the pool on every object of it.
	PoolLabel = ownPrefix + "pool"
	// UpstreamAnnotation on a pod names the Upstream whose ledger it belongs to. It
	// is part of the pod's template, so a pool that moves to another server gets new
	// pods, and the old ones keep their place in the old ledger until they are gone.
	UpstreamAnnotation = ownPrefix + "upstream"
	// LookupAnnotation on a pod says that its clients are looked up at the server. A
	// running PgBouncer can not change that, so pods are replaced.
	LookupAnnotation = ownPrefix + "lookup"
	// ConfigRevisionAnnotation names the configuration in the pool's Secret.
	ConfigRevisionAnnotation = ownPrefix + "config-revision"

	ownPrefix = "poolfleet.dev/"

	nameLabel      = "app.kubernetes.io/name"
	instanceLabel  = "app.kubernetes.io/instance"
	componentLabel = "app.kubernetes.io/component"
	managedByLabel = "app.kubernetes.io/managed-by"

	poolerName = "poolfleet-pooler"
)

// PooledName is the name of a pool's Deployment, Service, ServiceAccount,
// PodDisruptionBudget and NetworkPolicy. It is not the pool's own name, which is
// often the application's.
func PooledName(pool string) string { return pool + "-pool" }

// ConfigSecretName is the name of the Secret that the poolers mount.
func ConfigSecretName(pool string) string { return pool + "-pooler" }

// PublishedSecretName is the name of the Secret that applications read.
func PublishedSecretName(pool string, spec poolv1.PublishedSecret) string {
	if spec.Name != "" {
		return spec.Name
	}
	return PooledName(pool)
}

// ServiceHost is the name under which every namespace of the cluster reaches the
// pool. It leaves out the cluster's domain, which nobody inside can know for
// sure, and which the search path of every pod adds.
func ServiceHost(pool, namespace string) string {
	return PooledName(pool) + "." + namespace + ".svc"
}

// Labels stand on every object of a pool.
func Labels(pool string) map[string]string {
	return map[string]string{
		nameLabel:      poolerName,
		instanceLabel:  pool,
		componentLabel: "pooler",
		managedByLabel: "poolfleet",
		PoolLabel:      pool,
	}
}

// Selector finds a pool's pods. It is the least that does, because a Deployment's
// selector can never change.
func Selector(pool string) map[string]string {
	return map[string]string{nameLabel: poolerName, PoolLabel: pool}
}

// SelectorText is the Selector as a scale subresource spells it.
func SelectorText(pool string) string { return labels.FormatLabels(Selector(pool)) }

// objectMeta is what all objects of a pool have: an apply configuration embeds a
// pointer to it. Further labels and annotations are the user's.
func (in Inputs) objectMeta(name string, further, annotations map[string]string) *metav1ac.ObjectMetaApplyConfiguration {
	meta := metav1ac.ObjectMeta().
		WithName(name).
		WithNamespace(in.Pool.Namespace).
		WithLabels(withOwn(further, Labels(in.Pool.Name))).
		WithOwnerReferences(in.ownerReference())
	if kept := withOwn(annotations, nil); len(kept) > 0 {
		meta.WithAnnotations(kept)
	}
	return meta
}

// ownerReference makes the pool the objects' controller, so that they go with it.
func (in Inputs) ownerReference() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(poolv1.SchemeGroupVersion.String()).
		WithKind("ConnectionPool").
		WithName(in.Pool.Name).
		WithUID(in.Pool.UID).
		WithController(true).
		WithBlockOwnerDeletion(true)
}

// withOwn adds our labels or annotations to the user's. Ours win, and keys of our
// domain are never the user's: a grant is an annotation.
func withOwn(users, ours map[string]string) map[string]string {
	all := maps.Clone(users)
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, ownPrefix) })
	if all == nil {
		all = make(map[string]string, len(ours))
	}
	maps.Copy(all, ours)
	return all
}
