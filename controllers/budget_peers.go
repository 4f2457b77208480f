// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// peersAtOnce bounds the pods that one pass tells of their peers: where a pool of
// hundreds changes, all of them are to be told, and grants come first.
const peersAtOnce = 16

// tellPeers tells pods who the others of their pool are, once all grants are told. It
// returns how soon to go on, 0 where nothing is left to do. It never fails a pass: what
// is lost without peers is a cancel request.
func (r *BudgetReconciler) tellPeers(ctx context.Context, ledger budget.Ledger, s *sighting) time.Duration {
	var wait time.Duration
	var problem error
	tried, pools := 0, addresses(ledger, s.pods)
	for _, entry := range ledger.Entries {
		pod := s.pods[entry.UID]
		want := peersOf(entry, pools[poolOfEntry(entry)]).Encode()
		if !listening(pod) || pod.Annotations[poolv1.PeersAnnotation] == want {
			continue
		}
		if tried++; tried > peersAtOnce {
			wait = sooner(wait, settleInterval)
			break
		}
		switch err := r.annotate(ctx, pod, poolv1.PeersAnnotation, want); {
		case err == nil:
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err):
			wait = sooner(wait, settleInterval) // It is not as the cache shows it.
		default:
			wait, problem = sooner(wait, retryInterval), err
		}
	}
	if r.Records.Tell(occasion{upstream: s.upstream, what: "peers"}, problem != nil, s.now, 0) {
		log.FromContext(ctx).Info("Pods do not know of each other, cancel requests may be lost", "problem", problem.Error())
	}
	return wait
}

// listening reports whether what is written to a pod reaches its container. One on its
// way out goes on with the peers that it has. Without any annotation it has yet to be
// seen as its grant left it.
func listening(pod *corev1.Pod) bool {
	return running(pod) && pod.DeletionTimestamp.IsZero() && len(pod.Annotations) > 0
}

// addresses are those of a pool's pods by their numbers. Pods on their way out are
// among them until they have ended: they have clients who may cancel.
func addresses(ledger budget.Ledger, pods map[string]*corev1.Pod) map[types.NamespacedName]map[int32]string {
	all := map[types.NamespacedName]map[int32]string{}
	for _, entry := range ledger.Entries {
		pod, pool := pods[entry.UID], poolOfEntry(entry)
		if !running(pod) || terminated(pod) {
			continue
		}
		if all[pool] == nil {
			all[pool] = map[int32]string{}
		}
		all[pool][entry.Peer] = pod.Status.PodIP
	}
	return all
}

func poolOfEntry(entry budget.Entry) types.NamespacedName {
	return types.NamespacedName{Namespace: entry.Namespace, Name: entry.Pool}
}

// peersOf is what a pod is told.
func peersOf(entry budget.Entry, pool map[int32]string) contract.Peers {
	others := maps.Clone(pool)
	delete(others, entry.Peer)
	return contract.Peers{UID: entry.UID, ID: entry.Peer, Others: others}
}

// toldPeers reads what a pod was told of its peers.
func toldPeers(pod *corev1.Pod) contract.Peers {
	peers, err := contract.DecodePeers(pod.Annotations[poolv1.PeersAnnotation])
	if err != nil || peers.UID != string(pod.UID) {
		return contract.Peers{} // A copied annotation, or none that could be read.
	}
	return peers
}

// sooner is the shorter of two waits; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
