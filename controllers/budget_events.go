// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/status"
)

const (
	// holdsTooLong is how long pods may take to let go before it is told.
	holdsTooLong = time.Minute
	// refusedFor is how long a grant is refused before it is told: in a rollout, a pod
	// waits for a moment.
	refusedFor = 10 * time.Second
	// divide is what an event says was being done (events.k8s.io/v1, action).
	divide = "Divide"
)

// tellOfServer makes events of what changed about a server.
func (r *BudgetReconciler) tellOfServer(ctx context.Context, upstream *poolv1.Upstream, s *sighting, want poolv1.UpstreamStatus) {
	if change := status.BudgetChange(upstream.Status, want); change.Text != "" {
		kind, reason := corev1.EventTypeNormal, poolv1.EventBudgetGrew
		if change.Shrank {
			kind, reason = corev1.EventTypeWarning, poolv1.EventBudgetShrank
		}
		r.Recorder.Eventf(upstream, nil, kind, reason, divide, "%s", change.Text)
	}
	for _, kind := range []string{poolv1.ConditionReady, poolv1.ConditionHeadroomAvailable} {
		r.tellOfTurn(ctx, upstream, want, kind)
	}
	if n := len(s.strangers); n > 0 {
		r.Recorder.Eventf(upstream, nil, corev1.EventTypeWarning, poolv1.EventLedgerRebuilt, divide,
			"The ledger did not know of %d pods that hold connections: it was lost or changed by hand, and is made anew from the pods' own word", n)
	}
}

// tellOfTurn makes an event of a condition that has become False, or is so no longer.
func (r *BudgetReconciler) tellOfTurn(ctx context.Context, upstream *poolv1.Upstream, want poolv1.UpstreamStatus, condition string) {
	was := meta.IsStatusConditionFalse(upstream.Status.Conditions, condition)
	now := meta.FindStatusCondition(want.Conditions, condition)
	is, kind := now.Status == metav1.ConditionFalse, corev1.EventTypeNormal
	switch {
	case was == is:
		return
	case is:
		kind = corev1.EventTypeWarning
	}
	log.FromContext(ctx).Info(condition+" changed", "status", now.Status, "reason", now.Reason, "message", now.Message)
	r.Recorder.Eventf(upstream, nil, kind, now.Reason, divide, "%s", now.Message)
}

// tellOfPools makes events of what has been the case of a pool for a while, once.
func (r *BudgetReconciler) tellOfPools(upstream *poolv1.Upstream, s *sighting, want poolv1.UpstreamStatus, account budget.Account) {
	for _, p := range account.Pools {
		key := types.NamespacedName{Namespace: p.Key.Namespace, Name: p.Key.Name}
		i := slices.IndexFunc(s.pools, func(pool poolv1.ConnectionPool) bool { return client.ObjectKeyFromObject(&pool) == key })
		if i < 0 {
			continue
		}
		pool := &s.pools[i]
		tell := func(what string, is bool, while time.Duration) bool {
			return r.Records.Tell(occasion{upstream: upstream.Name, pool: key, what: what}, is, s.now, while)
		}
		if tell(poolv1.EventHoldsTooLong, p.Held > p.Granted, holdsTooLong) {
			line := accountOf(&poolv1.Upstream{Status: want}, pool)
			r.Recorder.Eventf(upstream, nil, corev1.EventTypeWarning, poolv1.EventHoldsTooLong, divide,
				"Pods of pool %s/%s have held %d connections more than they were granted for over a minute%s",
				key.Namespace, key.Name, p.Held-p.Granted, status.LetsGo(line.Oldest))
		}
		if why := refusal(s, p); tell(poolv1.EventGrantRefused, why != "", refusedFor) {
			r.Recorder.Eventf(pool, nil, corev1.EventTypeWarning, poolv1.EventGrantRefused, divide, "%s", why)
		}
		if tell(poolv1.EventLoginsRefused, r.refusing(s, p.Key), 0) {
			r.Recorder.Eventf(pool, nil, corev1.EventTypeWarning, poolv1.EventLoginsRefused, divide,
				"The server refuses logins of the pool's poolers for want of room: others have more connections than are left to them, see Upstream %s", upstream.Name)
		}
	}
}

// refusal says why a pool gets less than its poolers need; empty when it does not.
func refusal(s *sighting, p budget.PoolAccount) string {
	i := slices.IndexFunc(s.facts.Claims, func(c budget.Claim) bool { return c.Key == p.Key })
	if i < 0 || !s.facts.Reachable {
		return ""
	}
	c := s.facts.Claims[i]
	fit := budget.PodsThatFit(p.Entitled, p.Floor, c.Replicas)
	waits := slices.ContainsFunc(p.Waiting, func(w budget.Waiting) bool { return w.Reason == budget.InsufficientBudget })
	if fit >= c.Replicas && !waits {
		return ""
	}
	return status.Refusal(p.Entitled, p.Floor, p.Minimum, fit, c.Replicas)
}

// refusing reports whether a pod of the pool was refused logins in the last minute.
func (r *BudgetReconciler) refusing(s *sighting, key budget.PoolKey) bool {
	return slices.ContainsFunc(s.ledger.Entries, func(e budget.Entry) bool {
		return e.Namespace == key.Namespace && e.Pool == key.Name && r.Records.Refusing(types.UID(e.UID), s.now)
	})
}
