// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
)

// onUpstream wakes the pools that a change of an Upstream bears on. The ledger is
// written whenever connections change hands, which most of a server's pools have no
// part in.
func (r *ConnectionPoolReconciler) onUpstream() handler.EventHandler {
	all := handler.EnqueueRequestsFromMapFunc(r.poolsOfUpstream)
	return handler.Funcs{
		CreateFunc: all.Create, DeleteFunc: all.Delete, GenericFunc: all.Generic,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, after := asUpstream(e.ObjectOld), asUpstream(e.ObjectNew)
			if before == nil || after == nil || !equality.Semantic.DeepEqual(forAll(before), forAll(after)) {
				all.Update(ctx, e, queue)
				return
			}
			for pool := range poolsTouched(before.Status, after.Status) {
				queue.Add(reconcile.Request{NamespacedName: pool})
			}
		},
	}
}

func asUpstream(o client.Object) *poolv1.Upstream {
	u, _ := o.(*poolv1.Upstream)
	return u
}

// forAll is what of an Upstream bears on every pool.
func forAll(u *poolv1.Upstream) any {
	return struct {
		Spec        poolv1.UpstreamSpec
		Annotations map[string]string
		Going       bool
		Endpoints   []poolv1.ServerEndpoint
		Server      poolv1.ServerIdentity
		Capacity    poolv1.Capacity
		Deducted    *int32
		Over        bool
		Roles       map[budget.PoolKey]int64
	}{
		u.Spec, u.Annotations, !u.DeletionTimestamp.IsZero(), u.Status.Endpoints, u.Status.Server, u.Status.Capacity, u.Status.Use.Deducted,
		meta.IsStatusConditionFalse(u.Status.Conditions, poolv1.ConditionWithinBudget), rolesOf(u.Status.Pools),
	}
}

// poolsTouched are the pools whose line or whose pods' grants differ.
func poolsTouched(before, after poolv1.UpstreamStatus) map[types.NamespacedName]bool {
	lines := map[types.NamespacedName]poolv1.PoolAccount{}
	touched := map[types.NamespacedName]bool{}
	for _, line := range before.Pools {
		key := types.NamespacedName{Namespace: line.Namespace, Name: line.Name}
		lines[key], touched[key] = line, true
	}
	for _, line := range after.Pools {
		key := types.NamespacedName{Namespace: line.Namespace, Name: line.Name}
		touched[key] = !equality.Semantic.DeepEqual(lines[key], line)
	}
	grants := map[string]int32{}
	for _, e := range before.Ledger {
		grants[e.UID] = *e.Granted
	}
	for _, e := range after.Ledger {
		if was, known := grants[e.UID]; !known || was != *e.Granted {
			touched[types.NamespacedName{Namespace: e.Namespace, Name: e.Pool}] = true
		}
		delete(grants, e.UID)
	}
	for _, e := range before.Ledger {
		if _, gone := grants[e.UID]; gone {
			touched[types.NamespacedName{Namespace: e.Namespace, Name: e.Pool}] = true
		}
	}
	maps.DeleteFunc(touched, func(_ types.NamespacedName, is bool) bool { return !is })
	return touched
}
