// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
)

const (
	// nudgeAfter is how long a pod may take to run what it was told.
	nudgeAfter = 1500 * time.Millisecond
	// nudgeAnnotation makes the kubelet look at a pod, and refresh its volumes. A new
	// Secret and the annotation that names it reach the kubelet by two watches: where the
	// annotation is first, the Secret's content would else arrive a minute later.
	nudgeAnnotation = "poolfleet.dev/nudge"
)

// nudge touches pods that answer and do not run what they were told.
func (r *BudgetReconciler) nudge(ctx context.Context, ledger budget.Ledger, s *sighting) {
	for _, entry := range ledger.Entries {
		pod := s.pods[entry.UID]
		if !r.Records.Lags(types.UID(entry.UID), listening(pod) && s.heard[entry.UID] && lags(entry, pod, s.acks[entry.UID]), s.now) {
			continue
		}
		// A failure is no loss: it is tried again, and the kubelet looks by itself in time.
		err := r.annotate(ctx, pod, nudgeAnnotation, s.now.UTC().Format(time.RFC3339Nano))
		log.FromContext(ctx).V(1).Info("Nudged a pod that does not run its configuration", "pod", klog.KObj(pod), "done", err == nil)
	}
}

// lags reports whether a pod was told all that its entry says, and runs something else.
func lags(entry budget.Entry, pod *corev1.Pod, ack contract.Status) bool {
	grant := told(pod)
	return grant != nil && grant.Gen == entry.Gen && entry.Granted > 0 && (ack.Gen != entry.Gen || ack.Config != entry.Config)
}

// Lags notes whether a pod lags and reports whether it is to be nudged: after a while,
// and then ever more seldom.
func (r *Records) Lags(uid types.UID, lagging bool, now time.Time) (due bool) {
	r.notePod(uid, func(pod *podRecord) {
		pod.lagging = firstOf(pod.lagging, lagging, now)
		if !lagging {
			pod.nudged = time.Time{}
			return
		}
		since := pod.lagging
		if pod.nudged.After(since) {
			since = pod.nudged
		}
		if due = now.Sub(since) >= max(nudgeAfter, pod.nudged.Sub(pod.lagging)); due {
			pod.nudged = now
		}
	})
	return due
}
