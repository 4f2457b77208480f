// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/metrics"
	"github.com/poolfleet/poolfleet/internal/status"
)

// statusOf is the Upstream's status as this pass leaves it.
func (r *BudgetReconciler) statusOf(upstream *poolv1.Upstream, s *sighting, ledger budget.Ledger, account budget.Account) poolv1.UpstreamStatus {
	want := *upstream.Status.DeepCopy()
	want.ObservedGeneration = new(upstream.Generation)
	want.Endpoints = r.endpoints(upstream, s)
	want.Server, want.Capacity = s.server, s.capacity
	want.Ledger, want.LedgerGeneration = entriesToStatus(ledger, s.foreignEntries), new(ledger.Gen)
	want.Pools = accounts(upstream, account, ledger, s)
	want.Account = tellAccount(upstream, account, want.Pools, ledger, s)
	want.PoolCount = new(int32(len(want.Pools))) //nolint:gosec // At most 1024 by the CRD.
	want.Granted, want.Use = new(granted(want.Ledger)), s.use.now
	want.Conditions = status.ComputeUpstream(conditionFacts(upstream, s, held(want.Ledger)), metav1.NewTime(r.Clock.Now().Truncate(time.Second)))
	return want
}

func conditionFacts(upstream *poolv1.Upstream, s *sighting, held int32) status.UpstreamFacts {
	return status.UpstreamFacts{
		Generation: upstream.Generation, Previous: upstream.Status.Conditions,
		Asked: s.look.asked, Reachable: s.look.reachable, Pooled: s.look.pooled,
		Declared: s.capacity.Source == poolv1.CapacityDeclared,
		Known:    s.capacity.Budget != nil, Held: held,
		Budget: max(valueOr(s.capacity.Budget, 0)-valueOr(s.use.now.Deducted, 0), 0),
		Use:    s.use.now, Left: s.left(), Direct: valueOr(s.capacity.Direct, 0), Hidden: s.use.hidden, Full: s.use.full, Biggest: s.use.biggest,
		SameUse: equality.Semantic.DeepEqual(upstream.Status.Use, s.use.now) &&
			equality.Semantic.DeepEqual(upstream.Status.Capacity, s.capacity),
		AdmissionChecked: s.look.counted, AdmissionProblem: s.look.problem,
	}
}

func granted(ledger []poolv1.LedgerEntry) (sum int32) {
	for _, e := range ledger {
		sum += *e.Granted
	}
	return sum
}

func held(ledger []poolv1.LedgerEntry) (sum int32) {
	for _, e := range ledger {
		sum += *e.Held
	}
	return sum
}

// wakePools wakes the pools whose pods said something new.
func (r *BudgetReconciler) wakePools(ctx context.Context, s *sighting) {
	for pool := range s.changed {
		r.Signals.Pool(ctx, pool)
	}
}

// tell keeps the metrics, and makes events of what a person would want to be told.
func (r *BudgetReconciler) tell(ctx context.Context, upstream *poolv1.Upstream, s *sighting, want poolv1.UpstreamStatus, account budget.Account) {
	if lost := meta.IsStatusConditionFalse(want.Conditions, poolv1.ConditionWithinBudget); lost {
		for i := range s.pools {
			r.Signals.Pool(ctx, client.ObjectKeyFromObject(&s.pools[i]))
		}
	}
	r.measure(ctx, upstream, s, want)
	r.tellOfServer(ctx, upstream, s, want)
	r.tellOfPools(upstream, s, want, account)
}

// measure keeps the metrics.
func (r *BudgetReconciler) measure(ctx context.Context, upstream *poolv1.Upstream, s *sighting, want poolv1.UpstreamStatus) {
	metrics.ObserveUpstream(upstream.Name, want)
	told := map[types.NamespacedName]bool{}
	for _, line := range want.Pools {
		key := types.NamespacedName{Namespace: line.Namespace, Name: line.Name}
		told[key] = true
		if r.watches(line.Namespace) {
			need, starved := r.Records.Demand(key)
			metrics.ObserveAccount(upstream.Name, line, metrics.Demand{Need: need, Starved: starved}, s.now)
		}
	}
	for _, line := range upstream.Status.Pools {
		key := types.NamespacedName{Namespace: line.Namespace, Name: line.Name}
		if !told[key] && apierrors.IsNotFound(r.Get(ctx, key, &poolv1.ConnectionPool{})) {
			metrics.ForgetPool(key.Namespace, key.Name)
		}
	}
	before := map[string]int32{}
	for _, e := range upstream.Status.Ledger {
		before[e.UID] = *e.Granted
	}
	for _, e := range want.Ledger {
		if told[types.NamespacedName{Namespace: e.Namespace, Name: e.Pool}] && r.watches(e.Namespace) {
			metrics.CountGrant(e.Namespace, e.Pool, before[e.UID], *e.Granted)
		}
	}
}
