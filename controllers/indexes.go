// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// poolBySecret is a field index: it finds the pools whose spec names a Secret,
// without a list of all.
const poolBySecret = "spec.secrets"

// AddIndexes registers the field indexes that the reconcilers use.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for field, values := range map[string]func(*poolv1.ConnectionPool) []string{poolBySecret: secretsOf, poolByEdgeLabel: edgeLabels} {
		extract := func(o client.Object) []string {
			pool, ok := o.(*poolv1.ConnectionPool)
			if !ok {
				return nil
			}
			return values(pool)
		}
		if err := indexer.IndexField(ctx, &poolv1.ConnectionPool{}, field, extract); err != nil {
			return fmt.Errorf("indexing connection pools by %s: %w", field, err)
		}
	}
	return nil
}

// secretsOf are the names of the Secrets that a pool is made from.
func secretsOf(pool *poolv1.ConnectionPool) []string {
	spec := &pool.Spec
	names := []string{
		spec.Upstream.SecretRef.Name, spec.Upstream.TLS.CASecretRef.Name, spec.Upstream.TLS.ClientCertSecretRef.Name,
		spec.Authentication.Query.SecretRef.Name, spec.TLS.SecretRef.Name, spec.TLS.ClientCASecretRef.Name,
	}
	if spec.TLS.IssuerRef.Name != "" {
		names = append(names, manifests.CertificateName(pool.Name))
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// poolsOfSecret maps a Secret to the pools that read it.
func (r *ConnectionPoolReconciler) poolsOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	if secret.GetName() == AuthoritySecret && secret.GetNamespace() == r.Settings.OperatorNamespace {
		return requests(listPools(ctx, r.Client)) // Nearly all show its certificates.
	}
	return requests(listPools(ctx, r.Client, client.InNamespace(secret.GetNamespace()), client.MatchingFields{poolBySecret: secret.GetName()}))
}

// poolsOfUpstream maps an Upstream to the pools that share it: a changed account
// may allow more or fewer poolers.
func (r *ConnectionPoolReconciler) poolsOfUpstream(ctx context.Context, upstream client.Object) []reconcile.Request {
	var pools []poolv1.ConnectionPool
	for _, pool := range listPools(ctx, r.Client) {
		if upstreamOf(r.Records, &pool) == upstream.GetName() {
			pools = append(pools, pool)
		}
	}
	return requests(pools)
}

func requests(pools []poolv1.ConnectionPool) []reconcile.Request {
	out := make([]reconcile.Request, 0, len(pools))
	for i := range pools {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&pools[i])})
	}
	return out
}

// upstreamOfPool maps a pool to its Upstream.
func (r *BudgetReconciler) upstreamOfPool(_ context.Context, o client.Object) []reconcile.Request {
	pool, ok := o.(*poolv1.ConnectionPool)
	if !ok {
		return nil
	}
	return upstreamRequest(upstreamOf(r.Records, pool))
}

// upstreamOfPod maps a pooler pod to the Upstream of its pool, and to that whose
// ledger it is in where the pool has moved.
func (r *BudgetReconciler) upstreamOfPod(ctx context.Context, pod client.Object) []reconcile.Request {
	all := append(r.upstreamOfItsPool(ctx, pod), upstreamRequest(pod.GetAnnotations()[manifests.UpstreamAnnotation])...)
	if len(all) == 2 && all[0] == all[1] {
		return all[:1]
	}
	return all
}

func (r *BudgetReconciler) upstreamOfItsPool(ctx context.Context, pod client.Object) []reconcile.Request {
	key := types.NamespacedName{Namespace: pod.GetNamespace(), Name: pod.GetLabels()[manifests.PoolLabel]}
	var pool poolv1.ConnectionPool
	if err := r.Get(ctx, key, &pool); err == nil {
		return upstreamRequest(upstreamOf(r.Records, &pool))
	}
	// The pool is gone, but its pods may still hold connections.
	return r.upstreamsHolding(ctx, pod.GetUID())
}

func (r *BudgetReconciler) upstreamsHolding(ctx context.Context, uid types.UID) []reconcile.Request {
	var list poolv1.UpstreamList
	if err := r.List(ctx, &list); err != nil {
		log.FromContext(ctx).Error(err, "Listing upstreams")
		return nil
	}
	for _, upstream := range list.Items {
		for _, entry := range upstream.Status.Ledger {
			if entry.UID == string(uid) {
				return upstreamRequest(upstream.Name)
			}
		}
	}
	return nil
}

func upstreamRequest(name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

// upstreamOf returns the name of a pool's Upstream: what this process found out,
// else what the status remembers from before it started.
func upstreamOf(records *Records, pool *poolv1.ConnectionPool) string {
	if record := records.Pool(client.ObjectKeyFromObject(pool)); record.Upstream != "" {
		return record.Upstream
	}
	return pool.Status.Upstream.Name
}

func listPools(ctx context.Context, reader client.Reader, opts ...client.ListOption) []poolv1.ConnectionPool {
	var list poolv1.ConnectionPoolList
	if err := reader.List(ctx, &list, opts...); err != nil {
		log.FromContext(ctx).Error(err, "Listing connection pools")
		return nil
	}
	return list.Items
}

// secretMetadata is a Secret as it is watched: without its content.
func secretMetadata() *metav1.PartialObjectMetadata {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return meta
}
