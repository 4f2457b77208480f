// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// rebuildPatience is how long a pod that a lost ledger does not know may take to
// say what it holds. After that its annotation is believed.
const rebuildPatience = 10 * time.Second

// rebuild finds the pods that hold connections and have no entry, when the ledger
// looks lost: it never was written, or a pod was granted something that it does not
// know of, which is told only after it is written. The pods are listed past the
// cache, which may not have the newest of their grants.
func (r *BudgetReconciler) rebuild(ctx context.Context, upstream *poolv1.Upstream, s *sighting) error {
	known := map[string]bool{}
	for _, e := range s.ledger.Entries {
		known[e.UID] = true
	}
	lost := upstream.Status.LedgerGeneration == nil
	for uid, pod := range s.pods {
		lost = lost || !known[uid] && holds(pod)
	}
	if !lost {
		return nil
	}
	pods, err := r.livePods(ctx)
	if err != nil {
		return err
	}
	r.adopt(ctx, s, known, pods)
	return nil
}

// adopt takes the pods without an entry as they are live.
func (r *BudgetReconciler) adopt(ctx context.Context, s *sighting, known map[string]bool, pods []corev1.Pod) {
	live := map[string]bool{}
	for i := range pods {
		pod, uid := &pods[i], string(pods[i].UID)
		live[uid] = true
		stranger := holds(pod) && r.ours(ctx, s, pod)
		if known[uid] || !stranger && s.pods[uid] == nil {
			continue
		}
		s.pods[uid] = pod
		if stranger {
			s.strangers = append(s.strangers, entryOf(pod))
		}
	}
	// A cache that is behind shows pods whose entries were freed when they ended.
	maps.DeleteFunc(s.pods, func(uid string, _ *corev1.Pod) bool { return !known[uid] && !live[uid] })
}

// holds reports whether a pod was granted connections, or parked, and is not over.
func holds(pod *corev1.Pod) bool { return told(pod) != nil && !terminated(pod) && ofReplicaSet(pod) }

// entryOf is what a pod's annotation says that it holds.
func entryOf(pod *corev1.Pod) budget.Entry {
	share := told(pod).Share
	return budget.Entry{
		UID: string(pod.UID), Namespace: pod.Namespace, Pod: pod.Name, Pool: pod.Labels[manifests.PoolLabel], Granted: share, Held: share,
	}
}

// ours reports whether a pod of any pool, or of one that is gone, is in this ledger.
func (r *BudgetReconciler) ours(ctx context.Context, s *sighting, pod *corev1.Pod) bool {
	pool := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[manifests.PoolLabel]}
	return pod.Annotations[manifests.UpstreamAnnotation] == s.upstream || s.serves(pool) && r.belongs(ctx, s, pod)
}

// livePods lists the poolers of all pools, past the cache.
func (r *BudgetReconciler) livePods(ctx context.Context) ([]corev1.Pod, error) {
	namespaces := r.Settings.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""} // All.
	}
	var all []corev1.Pod
	for _, namespace := range namespaces {
		var list corev1.PodList
		err := r.Live.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{managedByLabel: managedBy})
		if err != nil {
			return nil, fmt.Errorf("listing pooler pods: %w", err)
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

// incomplete reports whether pods that a lost ledger does not know, or one put back
// from a copy knows an older grant of, have yet to say what they hold. Until then
// nothing is decided. A pod that has not come to its annotation's number could still
// obey an older one, which may have allowed more.
func (r *BudgetReconciler) incomplete(s *sighting) bool {
	silent := false
	for _, e := range slices.Concat(s.ledger.Entries, s.strangers) {
		pod := s.pods[e.UID]
		if !running(pod) || told(pod) == nil || told(pod).Gen <= e.Gen {
			continue
		}
		silent = silent || !s.heard[e.UID] || s.acks[e.UID].Gen < told(pod).Gen
	}
	since := r.Records.lostFor(s.upstream, silent, s.now)
	return silent && since < rebuildPatience
}
