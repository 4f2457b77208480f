// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// refusedLook is how old a look at a server may be when it refuses logins that were
// granted: it may have less room than it had, after a restart for instance.
const refusedLook = 2 * time.Second

// lookAtRefusing has a pool look at its server because the server refuses the pool's
// logins, unless it was looked at a moment ago.
func (r *BudgetReconciler) lookAtRefusing(ctx context.Context, upstream string, pool types.NamespacedName, now time.Time) {
	if r.Records.lookNow(upstream, pool, now) {
		r.Signals.Pool(ctx, pool)
	}
}

// lookNow makes a look due and reports whether it did.
func (r *Records) lookNow(upstream string, pool types.NamespacedName, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	record := r.pools[pool]
	recent := now.Sub(r.servers[upstream].weighed) < refusedLook || now.Sub(record.ProbedAt) < refusedLook
	if recent || record.Upstream != upstream || record.Interval == 0 {
		return false
	}
	record.Interval = 0
	r.pools[pool] = record
	return true
}
