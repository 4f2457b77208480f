// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/metrics"
)

// settleInterval is how soon a pod that has yet to acknowledge is asked again.
const settleInterval = 500 * time.Millisecond

// BudgetReconciler divides one server's connections. It alone writes
// Upstream.status, which holds the ledger, and the grants of pods. Its queue key is
// the Upstream, so one server has one writer.
type BudgetReconciler struct {
	client.Client
	// Live reads past the cache: that a pod is absent from the cache proves nothing.
	Live     client.Reader
	Asker    StatusAsker
	Records  *Records
	Signals  *Signals
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	Settings Settings
}

// +kubebuilder:rbac:groups=poolfleet.dev,resources=upstreams,verbs=update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=poolfleet.dev,resources=upstreams/status,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch

// Reconcile takes one step of the protocol for one server: ledger first, by
// compare-and-swap, then the pods. Any conflict ends the pass; the next starts
// from what then stands.
func (r *BudgetReconciler) Reconcile(ctx context.Context, upstream *poolv1.Upstream) (reconcile.Result, error) {
	seen, err := r.observe(ctx, upstream)
	if err != nil {
		return reconcile.Result{}, err
	}
	defer r.wakePools(ctx, seen) // Whatever ends the pass: what is noted of pods is not new to the next.
	if r.newborn(upstream, seen) {
		return reconcile.Result{RequeueAfter: birth}, nil // Its first pool is on its way, and will say so.
	}
	if err := r.unite(ctx, upstream, seen); err != nil {
		return retryConflict(upstream, err)
	}
	ledger, account := budget.Next(seen.ledger, seen.facts)
	want := r.statusOf(upstream, seen, ledger, account)
	written, err := r.record(ctx, upstream, want)
	if err != nil {
		return retryConflict(upstream, err)
	}
	r.Records.trust(written)
	if seen.use.renewed {
		r.Records.noteUseWritten(upstream.Name, seen.now)
	}
	r.Records.SetCounted(seen.pools)
	if err := r.grant(ctx, ledger, seen.pods); err != nil {
		return retryConflict(upstream, err)
	}
	r.tell(ctx, upstream, seen, want, account)
	r.nudge(ctx, ledger, seen)
	if done, err := r.release(ctx, written, seen); done || err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: sooner(again(ledger, seen), r.tellPeers(ctx, ledger, seen))}, nil
}

// retryConflict forgets the pass after a conflict: someone wrote in between, and
// their word is read anew.
func retryConflict(upstream *poolv1.Upstream, err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		metrics.CountConflict(upstream.Name)
		return reconcile.Result{RequeueAfter: settleInterval / 5}, nil
	}
	return reconcile.Result{}, err
}

// record writes the account before any pod is told of it.
func (r *BudgetReconciler) record(ctx context.Context, upstream *poolv1.Upstream, want poolv1.UpstreamStatus) (*poolv1.Upstream, error) {
	if equality.Semantic.DeepEqual(upstream.Status, want) {
		return upstream, nil
	}
	written := upstream.DeepCopy()
	written.Status = want
	// The resourceVersion that was read goes along: a writer with an older view gets a conflict.
	err := r.Status().Update(ctx, written)
	if apierrors.IsInvalid(err) {
		return nil, fmt.Errorf("writing the ledger of upstream %s: %s", upstream.Name, err.Error()) // No conflict: it has to be seen.
	}
	if err != nil {
		return nil, fmt.Errorf("writing the ledger of upstream %s: %w", upstream.Name, err)
	}
	return written, nil
}

// release lets an Upstream go that nobody uses: its finalizer once the ledger is
// empty, and the object itself where no administrator wrote into it.
func (r *BudgetReconciler) release(ctx context.Context, upstream *poolv1.Upstream, seen *sighting) (bool, error) {
	if len(upstream.Status.Ledger) > 0 || len(seen.identity.guests) > 0 || len(seen.facts.Claims) > 0 && upstream.DeletionTimestamp.IsZero() {
		return false, nil
	}
	if upstream.DeletionTimestamp.IsZero() {
		if len(upstream.Status.Pools) > 0 || !untouched(upstream) || r.young(upstream) {
			return false, nil
		}
		err := r.Delete(ctx, upstream, client.Preconditions{UID: &upstream.UID, ResourceVersion: &upstream.ResourceVersion})
		return true, client.IgnoreNotFound(err)
	}
	if !controllerutil.RemoveFinalizer(upstream, poolv1.UpstreamFinalizer) {
		return true, nil
	}
	log.FromContext(ctx).Info("Letting go of an upstream that nothing holds connections of")
	metrics.ForgetUpstream(upstream.Name)
	r.Records.ForgetServer(upstream.Name)
	return true, client.IgnoreNotFound(r.Update(ctx, upstream))
}

// untouched reports whether an Upstream is as the operator made it.
func untouched(upstream *poolv1.Upstream) bool {
	return equality.Semantic.DeepEqual(upstream.Spec, poolv1.UpstreamSpec{}) && upstream.Labels[managedByLabel] == managedBy
}

// birth is how long an Upstream may take to have its first pool.
const birth = 10 * time.Second

// newborn is an Upstream of which nothing is to be said yet.
func (r *BudgetReconciler) newborn(upstream *poolv1.Upstream, seen *sighting) bool {
	return r.young(upstream) && len(seen.pools) == 0 && len(upstream.Status.Ledger) == 0 && !merged(upstream) && upstream.DeletionTimestamp.IsZero()
}

// young spares an Upstream whose first pool is still on its way to it.
func (r *BudgetReconciler) young(upstream *poolv1.Upstream) bool {
	return r.Clock.Since(upstream.CreationTimestamp.Time) < birth
}

// again is when to look once more without being told: soon while a pod has yet to
// acknowledge or to be proved gone.
func again(ledger budget.Ledger, seen *sighting) time.Duration {
	unsettled := slices.ContainsFunc(ledger.Entries, func(e budget.Entry) bool {
		pod, live := seen.pods[e.UID]
		ack := seen.acks[e.UID]
		return !live || e.Held > e.Granted ||
			(e.Granted > 0 && running(pod) && (ack.Gen != e.Gen || ack.Config != e.Config || seen.turning(e, ack)))
	})
	if unsettled || seen.onItsWay() {
		return settleInterval
	}
	if len(ledger.Entries) > 0 {
		return seen.pollInterval()
	}
	if len(seen.facts.Claims) == 0 || slices.ContainsFunc(seen.facts.Pods, func(p budget.Pod) bool { return !p.Ready }) {
		return retryInterval // Patience with a pod ends, and an Upstream is young, for a while only.
	}
	return 0
}

// onItsWay reports whether what was decided waits for something that comes by itself.
func (s *sighting) onItsWay() bool { return s.widening || s.identity.passing() }

func running(pod *corev1.Pod) bool { return pod != nil && pod.Status.PodIP != "" }

// SetupWithManager registers the reconciler and what it watches.
func (r *BudgetReconciler) SetupWithManager(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("budget").
		For(&poolv1.Upstream{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&poolv1.ConnectionPool{}, handler.EnqueueRequestsFromMapFunc(r.upstreamOfPool)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.upstreamOfPod)).
		WatchesRawSource(source.Channel(r.Signals.upstreams, &handler.EnqueueRequestForObject{})).
		// A pod that does not answer holds up the pass of its own server only.
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(reconcile.AsReconciler(r.Client, r))
}
