// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// grant tells each pod what the ledger, already written, allows it. A pod on its
// way out is told nothing: its volumes are no longer refreshed.
func (r *BudgetReconciler) grant(ctx context.Context, ledger budget.Ledger, pods map[string]*corev1.Pod) error {
	for _, entry := range ledger.Entries {
		pod := pods[entry.UID]
		if pod == nil || !pod.DeletionTimestamp.IsZero() || entry.Gen == 0 {
			continue
		}
		want := contract.Annotation{
			Grant: contract.Grant{UID: entry.UID, Gen: entry.Gen, Share: entry.Granted, Config: entry.Config}, Held: entry.Held,
		}
		old, err := contract.DecodeAnnotation(pod.Annotations[poolv1.GrantAnnotation])
		if err == nil && old.Grant == want.Grant && old.Held >= want.Held {
			continue // What it no longer holds waits for the next grant: too much is safe.
		}
		if err := r.annotate(ctx, pod, poolv1.GrantAnnotation, want.Encode()); err != nil {
			return fmt.Errorf("granting connections to pod %s: %w", pod.Name, err)
		}
		r.Records.SetAsked(pod.UID)
		log.FromContext(ctx).Info("Granted connections", "pod", klog.KObj(pod), "connections", entry.Granted, "gen", entry.Gen)
	}
	return nil
}

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// annotate sets an annotation if the pod is the one that was seen, with the value that
// was seen.
func (r *BudgetReconciler) annotate(ctx context.Context, pod *corev1.Pod, name, want string) error {
	// A JSON pointer (RFC 6901).
	pointer := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	ops := []operation{{"test", "/metadata/uid", pod.UID}}
	old, set := pod.Annotations[name]
	switch {
	case set:
		ops = append(ops, operation{"test", pointer, old}, operation{"replace", pointer, want})
	case pod.Annotations == nil:
		ops = append(ops, operation{"add", "/metadata/annotations", map[string]string{name: want}})
	default:
		ops = append(ops, operation{"add", pointer, want})
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("encoding annotation %s: %w", name, err)
	}
	err = r.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(manifests.BudgetFieldOwner))
	if err != nil {
		return fmt.Errorf("setting annotation %s: %w", name, err)
	}
	return nil
}

// splitLedger separates the entries of watched namespaces from those that belong
// to another operator.
func (r *BudgetReconciler) splitLedger(upstream *poolv1.Upstream) (ours budget.Ledger, others []poolv1.LedgerEntry) {
	if g := upstream.Status.LedgerGeneration; g != nil {
		ours.Gen = *g
	}
	for _, e := range upstream.Status.Ledger {
		if !r.watches(e.Namespace) {
			others = append(others, e)
			continue
		}
		ours.Entries = append(ours.Entries, budget.Entry{
			UID: e.UID, Namespace: e.Namespace, Pod: e.Pod, Pool: e.Pool,
			Gen: *e.Gen, Granted: *e.Granted, Held: *e.Held, Config: e.Config, Peer: e.Peer,
		})
	}
	return ours, others
}

func (r *BudgetReconciler) foreignAccounts(upstream *poolv1.Upstream) []poolv1.PoolAccount {
	var out []poolv1.PoolAccount
	for _, a := range upstream.Status.Pools {
		if !r.watches(a.Namespace) {
			out = append(out, a)
		}
	}
	return out
}

func (r *BudgetReconciler) watches(namespace string) bool {
	return len(r.Settings.Namespaces) == 0 || slices.Contains(r.Settings.Namespaces, namespace)
}

// entriesToStatus writes a ledger as the status holds it, others' entries included.
func entriesToStatus(ledger budget.Ledger, others []poolv1.LedgerEntry) []poolv1.LedgerEntry {
	out := slices.Clone(others)
	for _, e := range ledger.Entries {
		out = append(out, poolv1.LedgerEntry{
			UID: e.UID, Namespace: e.Namespace, Pod: e.Pod, Pool: e.Pool,
			Gen: new(e.Gen), Granted: new(e.Granted), Held: new(e.Held), Config: e.Config, Peer: e.Peer,
		})
	}
	slices.SortFunc(out, func(a, b poolv1.LedgerEntry) int {
		return strings.Compare(a.Namespace+"/"+a.Pod+"/"+a.UID, b.Namespace+"/"+b.Pod+"/"+b.UID)
	})
	return out
}

// accountOf is a pool's line in its server's account; nil before it has one.
func accountOf(upstream *poolv1.Upstream, pool *poolv1.ConnectionPool) *poolv1.PoolAccount {
	if upstream == nil {
		return nil
	}
	for i, a := range upstream.Status.Pools {
		if a.Namespace == pool.Namespace && a.Name == pool.Name {
			return &upstream.Status.Pools[i]
		}
	}
	return nil
}

// entitled is a pool's part without loans; its share in an account of before there
// were any.
func entitled(account *poolv1.PoolAccount) int32 { return valueOr(account.Entitled, *account.Share) }

// entriesOf returns what the pods of a pool were granted, by pod UID.
func entriesOf(upstream *poolv1.Upstream, pool *poolv1.ConnectionPool) map[types.UID]int32 {
	out := map[types.UID]int32{}
	if upstream == nil {
		return out
	}
	for _, e := range upstream.Status.Ledger {
		if e.Namespace == pool.Namespace && e.Pool == pool.Name {
			out[types.UID(e.UID)] = *e.Granted
		}
	}
	return out
}
