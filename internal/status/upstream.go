// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// UpstreamFacts are what one pass over an Upstream saw.
type UpstreamFacts struct {
	Generation int64
	Previous   []metav1.Condition
	// Asked is true once a look at the server was tried, Reachable when one succeeded.
	Asked, Reachable bool
	// Pooled is true when a pooler hides the server.
	Pooled bool
	// Declared is true when a spec stands in for the server's word.
	Declared bool
	// Known is true once Budget is.
	Known        bool
	Budget, Held int32
}

// ComputeUpstream returns every condition of an Upstream, in a fixed order.
func ComputeUpstream(facts UpstreamFacts, now metav1.Time) []metav1.Condition {
	all := []metav1.Condition{reachable(facts), withinBudget(facts), admissionActive(facts)}
	for i := range all {
		all[i].ObservedGeneration = facts.Generation
		all[i].LastTransitionTime = transition(facts.Previous, all[i], now)
	}
	return all
}

func reachable(facts UpstreamFacts) metav1.Condition {
	const kind = poolv1.ConditionReachable
	switch {
	case !facts.Asked:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The server was not asked yet")
	case !facts.Reachable:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonNotAnswering, "No pool's look at the server succeeds; grants stay as they are and none is raised")
	case facts.Declared:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonDeclared, "The server can not be asked; a pool's spec.upstream.maxConnections stands in")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonObserved, "The server's limits were read")
}

func withinBudget(facts UpstreamFacts) metav1.Condition {
	const kind = poolv1.ConditionWithinBudget
	switch {
	case !facts.Known:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The budget is not known yet")
	case facts.Held > facts.Budget:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonOverBudget, "Pods may still hold %d connections of a budget of %d: they are letting go", facts.Held, facts.Budget)
	case facts.Budget == 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonNoBudget, "Nothing is left for pools: raise the server's max_connections, or lower spec.directConnections")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonWithinBudget, "Pods may hold %d connections of a budget of %d", facts.Held, facts.Budget)
}

func admissionActive(facts UpstreamFacts) metav1.Condition {
	const kind = poolv1.ConditionAdmissionActive
	switch {
	case !facts.Asked:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The server was not asked yet")
	case facts.Pooled:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonBehindPooler, "A pooler hides the server, so connections can not count themselves in: the bound rests on grants alone")
	case facts.Declared:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonDeclared, "New server connections count themselves in, but whether the server lets them could not be seen from here")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonAdmissionQuery, "Every new server connection counts itself in at the server")
}
