// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// rebuild holds a ledger that this process did not write itself against the pods:
// it may have been lost, put back from a copy or changed by hand. So it does where a
// pod was granted something that the ledger does not know of, which is told only after
// it is written. The pods are listed past the cache, which may not have the newest of
// their grants. Who wrote the ledger has compared it before, or written all that came
// after.
func (r *BudgetReconciler) rebuild(ctx context.Context, upstream *poolv1.Upstream, s *sighting) error {
	known := map[string]bool{}
	for _, e := range s.ledger.Entries {
		known[e.UID] = true
	}
	lost := !r.Records.trusts(upstream)
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

// adopt takes the pods as they are live, with those that have no entry.
func (r *BudgetReconciler) adopt(ctx context.Context, s *sighting, known map[string]bool, pods []corev1.Pod) {
	live := map[string]bool{}
	for i := range pods {
		pod, uid := &pods[i], string(pods[i].UID)
		live[uid] = true
		stranger := !known[uid] && holds(pod) && r.ours(ctx, s, pod)
		if stranger {
			s.strangers = append(s.strangers, entryOf(pod))
		}
		if stranger || s.pods[uid] != nil {
			s.pods[uid] = pod
		}
	}
	// A cache that is behind shows pods whose entries were freed when they ended.
	maps.DeleteFunc(s.pods, func(uid string, _ *corev1.Pod) bool { return !known[uid] && !live[uid] })
}

// holds reports whether a pod was granted connections, or parked, and is not over.
func holds(pod *corev1.Pod) bool { return told(pod) != nil && !terminated(pod) && ofReplicaSet(pod) }

// entryOf is what a pod's annotation says that it may hold. The pod is asked, too,
// but its answer is not waited for.
func entryOf(pod *corev1.Pod) budget.Entry {
	grant := told(pod)
	return budget.Entry{
		UID: string(pod.UID), Namespace: pod.Namespace, Pod: pod.Name, Pool: pod.Labels[manifests.PoolLabel],
		Granted: grant.Share, Held: grant.Held,
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
