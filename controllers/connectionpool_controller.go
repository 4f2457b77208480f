// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles. ConnectionPoolReconciler owns a pool's objects
// and its status; BudgetReconciler alone writes a server's ledger and the grants
// of pods. What they decide is decided in internal/{budget,pgbouncer,manifests,
// publish,status}; here things are read, applied and told.
package controllers

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/kube"
	"github.com/poolfleet/poolfleet/internal/metrics"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// ServerObserver looks at a PostgreSQL server.
type ServerObserver interface {
	// Observe returns a server's limits and identity. Its errors are *postgres.Error.
	Observe(ctx context.Context, source postgres.Source) (postgres.Observation, error)
}

// Settings are what the operator's flags say about every pool.
type Settings struct {
	// PoolerImage runs where a pool names no image of its own.
	PoolerImage string
	// PullPolicy of pooler images; empty is the cluster's default.
	PullPolicy corev1.PullPolicy
	// OperatorNamespace is where this manager runs: it reaches the poolers' status from there.
	OperatorNamespace string
	// ScraperNamespaces are those whose pods may read the poolers' figures; empty is all.
	ScraperNamespaces []string
	// ClusterDomain ends the full names of Services; empty where it is not known.
	ClusterDomain string
	// EdgeDomain is what the gateway serves pools under; empty where there is none.
	EdgeDomain string
	// Namespaces are those this manager watches; empty is all.
	Namespaces []string
}

// ConnectionPoolReconciler makes of a ConnectionPool what it consists of, and says
// how it is. It never touches a grant.
type ConnectionPoolReconciler struct {
	client.Client
	// Live reads past the cache: Secrets are cached as metadata only.
	Live     client.Reader
	Applier  *kube.Applier
	Observer ServerObserver
	Lookups  LookupObserver
	Asker    StatusAsker
	Records  *Records
	Signals  *Signals
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	Settings Settings

	// resolving is held while a pool finds or makes its Upstream: two pools that name
	// one new server at once must not make two.
	resolving sync.Mutex
	// withoutCertificate are the pools that are known to have no Certificate of cert-manager's.
	withoutCertificate sync.Map
}

// +kubebuilder:rbac:groups=poolfleet.dev,resources=connectionpools,verbs=list;watch
// +kubebuilder:rbac:groups=poolfleet.dev,resources=connectionpools/status,verbs=patch
// +kubebuilder:rbac:groups=poolfleet.dev,resources=connectionpools/finalizers,verbs=update
// +kubebuilder:rbac:groups=poolfleet.dev,resources=upstreams,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile takes one pool from what was read to what stands in its status.
func (r *ConnectionPoolReconciler) Reconcile(ctx context.Context, pool *poolv1.ConnectionPool) (reconcile.Result, error) {
	if !pool.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil // Owner references clean up; grants are freed as the pods end.
	}
	p := &pass{pool: pool}
	err := r.seeEdge(ctx, p)
	if err == nil {
		err = r.observe(ctx, p)
	}
	if err == nil {
		err = r.converge(ctx, p)
	}
	return r.report(ctx, p, err)
}

// forget drops what is kept about a pool that is gone, and lets its Upstream know.
func (r *ConnectionPoolReconciler) forget(ctx context.Context, req reconcile.Request) {
	record := r.Records.Pool(req.NamespacedName)
	r.Records.ForgetPool(req.NamespacedName)
	r.Applier.Forget(req.NamespacedName)
	r.withoutCertificate.Delete(req.NamespacedName)
	metrics.ForgetPool(req.Namespace, req.Name)
	r.Signals.Upstream(ctx, record.Upstream)
}

// SetupWithManager registers the reconciler and what it watches.
func (r *ConnectionPoolReconciler) SetupWithManager(mgr manager.Manager) error {
	typed := reconcile.AsReconciler(r.Client, r)
	b := builder.ControllerManagedBy(mgr).
		Named("connectionpool").
		For(&poolv1.ConnectionPool{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, rotationAsked())))
	for _, owned := range kube.OwnedObjects() {
		b = b.Owns(owned)
	}
	return b.
		WatchesMetadata(secretMetadata(), handler.EnqueueRequestsFromMapFunc(r.poolsOfSecret)).
		Watches(&poolv1.Upstream{}, r.onUpstream()).
		Watches(&poolv1.ConnectionPool{}, handler.EnqueueRequestsFromMapFunc(r.rivalsOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Signals.pools, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
			result, err := typed.Reconcile(ctx, req)
			if r.gone(ctx, req) {
				r.forget(ctx, req)
			}
			return result, err
		}))
}

func (r *ConnectionPoolReconciler) gone(ctx context.Context, req reconcile.Request) bool {
	return apierrors.IsNotFound(r.Get(ctx, req.NamespacedName, &poolv1.ConnectionPool{}))
}
