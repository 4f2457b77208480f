// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edgename"
	"github.com/poolfleet/poolfleet/internal/status"
)

// poolByEdgeLabel is a field index: it finds the pools that claim a name under the
// gateway's domain.
const poolByEdgeLabel = "spec.edge.label"

// atEdge reports whether a pool asks the gateway to serve it.
func atEdge(pool *poolv1.ConnectionPool) bool { return pool.Spec.Edge.Mode == poolv1.EdgeEnabled }

func edgeLabel(pool *poolv1.ConnectionPool) string {
	return edgename.Label(pool.Namespace, pool.Name, pool.Spec.Edge.Name)
}

// edgeLabels are what a pool is found by.
func edgeLabels(pool *poolv1.ConnectionPool) []string {
	if !atEdge(pool) {
		return nil
	}
	return []string{edgeLabel(pool)}
}

func edgeClaim(pool *poolv1.ConnectionPool) edgename.Claim {
	return edgename.Claim{
		Namespace: pool.Namespace, Name: pool.Name, Label: edgeLabel(pool), Created: pool.CreationTimestamp.Time,
	}
}

// seeEdge finds out how a pool that asks for the gateway stands with it.
func (r *ConnectionPoolReconciler) seeEdge(ctx context.Context, p *pass) error {
	if !atEdge(p.pool) {
		return nil
	}
	var rivals poolv1.ConnectionPoolList
	label := edgeLabel(p.pool)
	if err := r.List(ctx, &rivals, client.MatchingFields{poolByEdgeLabel: label}); err != nil {
		return fmt.Errorf("listing the pools that claim the name %s: %w", label, err)
	}
	claims := []edgename.Claim{edgeClaim(p.pool)} // The cache of the list may be behind that of the pool.
	for i := range rivals.Items {
		if rival := &rivals.Items[i]; rival.UID != p.pool.UID {
			claims = append(claims, edgeClaim(rival))
		}
	}
	p.edge = atGateway(claims, r.Settings.EdgeDomain)
	return nil
}

// atGateway is how the first of the claims, all of one label, stands under the domain.
func atGateway(claims []edgename.Claim, domain string) *status.Edge {
	own := claims[0]
	refuse := func(reason, format string, args ...any) *status.Edge {
		return &status.Edge{Refused: status.Block(poolv1.ConditionEdgePublished, reason, format, args...)}
	}
	switch holder, held := edgename.Holder(own.Label, claims); {
	case domain == "":
		return refuse(poolv1.ReasonNoGateway, "The operator knows of no gateway: install it with edge.enabled and edge.domain of the chart, or tell the manager its domain with --edge-domain")
	case !held:
		return refuse(poolv1.ReasonNameInvalid, "The name %s is no DNS label, which has at most 63 small letters, digits and hyphens: set spec.edge.name to another", own.Label)
	case holder != own:
		return refuse(poolv1.ReasonNameTaken, "The name %s is that of pool %s/%s, which is older: set spec.edge.name to another", own.Label, holder.Namespace, holder.Name)
	}
	return &status.Edge{Name: own.Label, Host: own.Label + "." + domain}
}

// rivalsOf maps a pool to the others that claim its name: what becomes of its claim
// may give them the name, or take it.
func (r *ConnectionPoolReconciler) rivalsOf(ctx context.Context, o client.Object) []reconcile.Request {
	pool, ok := o.(*poolv1.ConnectionPool)
	if !ok || !atEdge(pool) {
		return nil
	}
	var rivals []poolv1.ConnectionPool
	for _, rival := range listPools(ctx, r.Client, client.MatchingFields{poolByEdgeLabel: edgeLabel(pool)}) {
		if rival.UID != pool.UID {
			rivals = append(rivals, rival)
		}
	}
	return requests(rivals)
}

// edgeHost is the name under which workers reach the pool; empty where they do not.
func edgeHost(p *pass) string {
	if p.edge == nil {
		return ""
	}
	return p.edge.Host
}

// showEdge puts into a status how workers reach the pool. A URL that the pass did not
// come to make anew goes with the name it was made of.
func showEdge(p *pass, s *poolv1.ConnectionPoolStatus) {
	s.Edge = poolv1.PublishedEdge{}
	if p.edge != nil {
		s.Edge = poolv1.PublishedEdge{Name: p.edge.Name, Host: p.edge.Host}
	}
	if p.revision == "" && s.Edge.Host != p.pool.Status.Edge.Host {
		s.URLs.Edge, s.URLs.Accelerate = "", ""
	}
}

// tellEdge makes an event of it that the gateway serves a pool from now on, or can not.
func (r *ConnectionPoolReconciler) tellEdge(pool *poolv1.ConnectionPool, conditions []metav1.Condition) {
	before := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionEdgePublished)
	now := meta.FindStatusCondition(conditions, poolv1.ConditionEdgePublished)
	about := occasion{pool: client.ObjectKeyFromObject(pool), what: poolv1.ConditionEdgePublished}
	if now == nil {
		r.Records.Told(about, "")
		return
	}
	if before != nil && before.Reason == now.Reason || r.Records.Told(about, now.Reason) {
		return
	}
	kind := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(pool, nil, kind, now.Reason, "Reconcile", "%s", now.Message)
}
