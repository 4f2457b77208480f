// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// sighting is what one pass over an Upstream saw.
type sighting struct {
	// upstream is the name of the server looked at.
	upstream string
	pools    []poolv1.ConnectionPool
	// states are what the pools are to be.
	states map[types.NamespacedName]poolv1.PoolState
	// pods by UID, as the cache shows them.
	pods map[string]*corev1.Pod
	acks map[string]contract.Status
	// heard are the pods that answered in this pass.
	heard map[string]bool
	now   time.Time
	// changed are the pools of pods that said something new.
	changed map[types.NamespacedName]bool
	// strangers are pods that hold connections and that the ledger, which is lost then,
	// does not know.
	strangers []budget.Entry
	// foreign are ledger entries and accounts of namespaces this manager does not
	// watch: another operator's, kept as they are.
	foreignEntries  []poolv1.LedgerEntry
	foreignAccounts []poolv1.PoolAccount

	identity standing
	// roles are the pools' at the server, as looks have told.
	roles    map[budget.PoolKey]int64
	capacity poolv1.Capacity
	server   poolv1.ServerIdentity
	look     look
	use      use
	// widening says that the budget grew and that grants have yet to follow.
	widening bool
	ledger   budget.Ledger
	facts    budget.Facts
}

// observe reads everything that a step of the protocol depends on, the ledger
// first and the pods' word last.
func (r *BudgetReconciler) observe(ctx context.Context, upstream *poolv1.Upstream) (*sighting, error) {
	s := &sighting{
		now: r.Clock.Now(), upstream: upstream.Name, pods: map[string]*corev1.Pod{}, acks: map[string]contract.Status{}, changed: map[types.NamespacedName]bool{},
		states: map[types.NamespacedName]poolv1.PoolState{},
	}
	s.ledger, s.foreignEntries = r.splitLedger(upstream)
	s.foreignAccounts = r.foreignAccounts(upstream)
	if err := r.readPools(ctx, upstream, s); err != nil {
		return nil, err
	}
	if err := r.identify(ctx, upstream, s); err != nil {
		return nil, err
	}
	absent, err := r.readPods(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.rebuild(ctx, upstream, s); err != nil {
		return nil, err
	}
	r.readCapacity(upstream, s)
	r.readUse(s)
	s.facts.Claims = claims.Of(upstream, s.pools)
	r.ask(ctx, s)
	r.readNeeds(s)
	r.weighUse(ctx, upstream, s)
	s.facts = budget.Facts{
		Budget: r.widen(upstream, s, s.budget()), Unattributed: s.use.unattributed, Reachable: s.look.reachable,
		Claims: s.facts.Claims, Pods: r.podFacts(s, r.Clock.Now()), Absent: absent,
	}
	s.restrict()
	return s, nil
}

// readPools finds the pools on this server, in the order of their names.
func (r *BudgetReconciler) readPools(ctx context.Context, upstream *poolv1.Upstream, s *sighting) error {
	var list poolv1.ConnectionPoolList
	// Not copied: a pass a second reads them all, and changes none.
	if err := r.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing connection pools: %w", err)
	}
	for i := range list.Items {
		if pool := &list.Items[i]; upstreamOf(r.Records, pool) == upstream.Name {
			s.pools = append(s.pools, *pool)
			s.states[client.ObjectKeyFromObject(pool)] = pool.Spec.State
		}
	}
	slices.SortFunc(s.pools, func(a, b poolv1.ConnectionPool) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return nil
}

// readPods finds the pods of the pools, and those of ledger entries whose pool is
// gone. It returns the UIDs that a live read proved absent.
func (r *BudgetReconciler) readPods(ctx context.Context, s *sighting) (absent map[string]bool, err error) {
	for i := range s.pools {
		pods, err := podsOf(ctx, r.Client, &s.pools[i])
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			if r.belongs(ctx, s, &pod) {
				s.pods[string(pod.UID)] = &pod
			}
		}
	}
	absent = map[string]bool{}
	for i := range s.ledger.Entries {
		entry := &s.ledger.Entries[i]
		if pod := s.pods[entry.UID]; pod != nil {
			// By its UID: whoever changed the names in the ledger did not change the pod.
			entry.Namespace, entry.Pod, entry.Pool = pod.Namespace, pod.Name, pod.Labels[manifests.PoolLabel]
			continue
		}
		pod, err := r.livePod(ctx, *entry)
		if err != nil {
			return nil, err
		}
		if pod == nil {
			absent[entry.UID] = true
			r.Records.ForgetPod(types.UID(entry.UID))
			continue
		}
		s.pods[entry.UID] = pod
	}
	return absent, nil
}

// belongs reports whether a pod's connections are in this ledger: it was made for
// this Upstream, or for one that was taken away with its ledger under its feet.
func (r *BudgetReconciler) belongs(ctx context.Context, s *sighting, pod *corev1.Pod) bool {
	name := pod.Annotations[manifests.UpstreamAnnotation]
	if name == s.upstream || name == "" {
		return name != ""
	}
	key := types.NamespacedName{Name: name}
	return apierrors.IsNotFound(r.Get(ctx, key, &poolv1.Upstream{})) && apierrors.IsNotFound(r.Live.Get(ctx, key, &poolv1.Upstream{}))
}

// livePod returns the pod of an entry past the cache; nil when that pod, by UID,
// is no more.
func (r *BudgetReconciler) livePod(ctx context.Context, entry budget.Entry) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: entry.Namespace, Name: entry.Pod}, &pod)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", entry.Namespace, entry.Pod, err)
	}
	if string(pod.UID) != entry.UID {
		return nil, nil
	}
	return &pod, nil
}

// podsOf lists the pooler pods of a pool from the cache, to be read only. A pod counts only when a
// ReplicaSet controls it: a copy of one is nobody's.
func podsOf(ctx context.Context, reader client.Reader, pool *poolv1.ConnectionPool) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := reader.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingLabels(manifests.Selector(pool.Name)),
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the pods of pool %s/%s: %w", pool.Namespace, pool.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !ofReplicaSet(&pod) }), nil
}

func ofReplicaSet(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "ReplicaSet" })
}

// podFacts tells the planner of the pods.
func (r *BudgetReconciler) podFacts(s *sighting, now time.Time) []budget.Pod {
	pods := make([]budget.Pod, 0, len(s.pods))
	for uid, pod := range s.pods {
		fact := budget.Pod{
			UID: uid, Namespace: pod.Namespace, Name: pod.Name, Pool: pod.Labels[manifests.PoolLabel],
			Created: pod.CreationTimestamp.Unix(), Template: pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey],
			Terminating: !pod.DeletionTimestamp.IsZero(), Terminated: terminated(pod),
			Pending: !started(pod), Coming: coming(pod, now), Ready: ready(pod), Overdue: r.overdue(pod, now),
			Address: pod.Status.PodIP, Told: told(pod), Peer: toldPeers(pod).ID,
		}
		if ack, ok := s.acks[uid]; ok {
			fact.Ack = &budget.Ack{Gen: ack.Gen, Config: ack.Config, Cap: ack.Cap, Current: ack.Current, Draining: ack.Draining}
		}
		pods = append(pods, fact)
	}
	slices.SortFunc(pods, func(a, b budget.Pod) int { return strings.Compare(a.UID, b.UID) })
	return pods
}

// terminated reports whether a pod is over and every container of it has ended.
func terminated(pod *corev1.Pod) bool {
	if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		return false
	}
	return !slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Terminated == nil
	})
}

// started reports whether the pooler's container has run: a pod that never does
// needs no connections.
func started(pod *corev1.Pod) bool {
	return pod.Status.PodIP != "" && slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Running != nil || c.LastTerminationState.Terminated != nil
	})
}

const (
	// patience is how long a pod with a grant may take to become ready before others
	// that wait go first.
	patience = time.Minute
	// secondChance is how often such a pod gets another try.
	secondChance = 5 * time.Minute
)

// soon is how long a container may take to start before its pod counts as one
// that may never: images are pulled, and volumes come late.
const soon = 15 * time.Second

// coming reports whether a node is making the pod's container, and has not said
// that it can't.
func coming(pod *corev1.Pod, now time.Time) bool {
	if pod.Spec.NodeName == "" || now.Sub(pod.CreationTimestamp.Time) > soon {
		return false
	}
	return !slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating"
	})
}

// overdue reports whether a pod has had a grant for too long without being ready,
// but for a span of patience now and then; or, on its way out, is there after its
// grace period.
func (r *BudgetReconciler) overdue(pod *corev1.Pod, now time.Time) bool {
	if gone := pod.DeletionTimestamp; gone != nil {
		return now.After(gone.Time)
	}
	grant := told(pod)
	tried := grant != nil && grant.Share > 0
	since := r.Records.Unready(pod.UID, grant != nil && !ready(pod), tried, now)
	return since%secondChance > patience
}

// told reads what a pod's annotation says, for a ledger that was lost.
func told(pod *corev1.Pod) *budget.Told {
	a, err := contract.DecodeAnnotation(pod.Annotations[poolv1.GrantAnnotation])
	if err != nil || a.UID != string(pod.UID) {
		return nil // A copied annotation, or one that nobody obeys.
	}
	return &budget.Told{Gen: a.Gen, Share: a.Share, Config: a.Config, Held: a.Held}
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
