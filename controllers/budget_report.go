// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	want.Pools = accounts(account, s)
	want.PoolCount = new(int32(len(want.Pools))) //nolint:gosec // At most 1024 by the CRD.
	want.Granted, want.Use = new(granted(want.Ledger)), s.use.now
	want.Conditions = status.ComputeUpstream(status.UpstreamFacts{
		Generation: upstream.Generation, Previous: upstream.Status.Conditions,
		Asked: s.look.asked, Reachable: s.look.reachable, Pooled: s.look.pooled,
		Declared: s.capacity.Source == poolv1.CapacityDeclared,
		Known:    s.capacity.Budget != nil, Budget: valueOr(s.capacity.Budget, 0), Held: held(want.Ledger),
	}, metav1.NewTime(r.Clock.Now().Truncate(time.Second)))
	return want
}

func accounts(account budget.Account, s *sighting) []poolv1.PoolAccount {
	out := slices.Clone(s.foreignAccounts)
	for _, p := range account.Pools {
		out = append(out, poolv1.PoolAccount{
			Namespace: p.Key.Namespace, Name: p.Key.Name, Weight: p.Weight, Floor: p.Floor,
			Minimum: p.Minimum, Entitled: new(p.Entitled), Share: new(p.Share), Granted: new(p.Granted), Held: new(p.Held),
			Waiting: new(int32(len(p.Waiting))), //nolint:gosec // A pool's pods are a few hundred.
		})
	}
	slices.SortFunc(out, func(a, b poolv1.PoolAccount) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out
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

// tell wakes the pools whose pods said something new, and keeps the metrics.
func (r *BudgetReconciler) tell(ctx context.Context, upstream *poolv1.Upstream, s *sighting, want poolv1.UpstreamStatus) {
	for pool := range s.changed {
		r.Signals.Pool(ctx, pool)
	}
	metrics.ObserveUpstream(upstream.Name, want)
	if lost := meta.IsStatusConditionFalse(want.Conditions, poolv1.ConditionWithinBudget); lost {
		for i := range s.pools {
			r.Signals.Pool(ctx, types.NamespacedName{Namespace: s.pools[i].Namespace, Name: s.pools[i].Name})
		}
	}
}
