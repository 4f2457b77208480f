// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
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
	Known bool
	// Budget is what pools divide, others taken off, and Held what pods may hold.
	Budget, Held int32
	// Use is status.use as it will stand, Left what is left to others than pools, and
	// Direct what of that is kept for them even where no ceiling holds pools back.
	Use          poolv1.ServerUse
	Left, Direct int32
	// SameUse is true while neither Use nor the capacity differ from what stands: then
	// its words stay, too.
	SameUse bool
	// Hidden is true when the server shows no connections to the roles that look, Full
	// when it had none left for the newest look.
	Hidden, Full bool
	// Biggest names those of the others who have the most connections.
	Biggest []string
	// AdmissionChecked is true when a look has run the count that new connections run,
	// AdmissionProblem why it is not to be relied on.
	AdmissionChecked bool
	AdmissionProblem string
}

// ComputeUpstream returns every condition of an Upstream, in a fixed order: Ready, what
// it sums up, and what kstatus reads.
func ComputeUpstream(facts UpstreamFacts, now metav1.Time) []metav1.Condition {
	parts := []metav1.Condition{reachable(facts), withinBudget(facts), headroomAvailable(facts), admissionActive(facts)}
	for i := range parts {
		if old := meta.FindStatusCondition(facts.Previous, parts[i].Type); old != nil && stays(facts, *old, parts[i]) {
			parts[i].Status, parts[i].Reason, parts[i].Message = old.Status, old.Reason, old.Message
		}
	}
	ready, progress := usable(parts[0], parts[1])
	all := slices.Concat([]metav1.Condition{ready}, parts, progress)
	for i := range all {
		all[i].ObservedGeneration = facts.Generation
		all[i].LastTransitionTime = transition(facts.Previous, all[i], now)
	}
	return all
}

// usable sums up whether pools can take connections of the server. That others use more
// than is left to them, or that connections can't count themselves in, does not keep
// pools from it.
func usable(reachable, budget metav1.Condition) (ready metav1.Condition, progress []metav1.Condition) {
	because := func(kind string, is metav1.ConditionStatus, part metav1.Condition) metav1.Condition {
		return condition(kind, is, part.Reason, "%s", part.Message)
	}
	ready = condition(poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable, "Pools can take connections of the server")
	for _, part := range []metav1.Condition{reachable, budget} {
		switch part.Reason {
		case poolv1.ReasonNotAnswering, poolv1.ReasonNoBudget:
			return because(poolv1.ConditionReady, metav1.ConditionFalse, part), []metav1.Condition{because(poolv1.ConditionStalled, metav1.ConditionTrue, part)}
		case poolv1.ReasonPending:
			return because(poolv1.ConditionReady, metav1.ConditionUnknown, part), []metav1.Condition{because(poolv1.ConditionReconciling, metav1.ConditionTrue, part)}
		case poolv1.ReasonOverBudget:
			return ready, []metav1.Condition{because(poolv1.ConditionReconciling, metav1.ConditionTrue, part)}
		}
	}
	return ready, nil
}

// stays reports whether what a condition says is kept. A manager that has not looked
// yet knows less than what another, or it itself before a restart, has written.
func stays(facts UpstreamFacts, old, now metav1.Condition) bool {
	if now.Reason == poolv1.ReasonPending {
		return true
	}
	return now.Type == poolv1.ConditionHeadroomAvailable && facts.SameUse && old.Status == now.Status && old.Reason == now.Reason
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
	deducted := number(facts.Use.Deducted)
	switch {
	case !facts.Known:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The budget is not known yet")
	case facts.Held > facts.Budget:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonOverBudget, "Pods may still hold %d connections of a budget of %d: they are letting go", facts.Held, facts.Budget)
	case facts.Budget == 0 && deducted > 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonNoBudget,
			"Nothing is left for pools, as others use %d connections that would be theirs: end those that should not be there, or raise the server's max_connections", deducted)
	case facts.Budget == 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonNoBudget, "Nothing is left for pools: raise the server's max_connections, or lower spec.directConnections")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonWithinBudget, "Pods may hold %d connections of a budget of %d", facts.Held, facts.Budget)
}

func headroomAvailable(facts UpstreamFacts) metav1.Condition {
	const kind = poolv1.ConditionHeadroomAvailable
	others, deducted := number(facts.Use.Others), number(facts.Use.Deducted)
	switch {
	case facts.Asked && facts.Full:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonIntruded,
			"The server has no connection left, not even for a look at it: others use all %d that are left to them; end those that should not be there, or raise spec.directConnections", facts.Left)
	case facts.Declared:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonDeclared, "The server can not be asked, so what others use is not known")
	case facts.Hidden:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonNotVisible,
			"The server does not show its connections to the pools' roles: let one of them read pg_stat_activity, for instance with GRANT pg_read_all_stats")
	case facts.Use.Others == nil:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The server's connections were not seen yet")
	case deducted > facts.Direct:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonIntruded,
			"Others use %d connections and %d are left to them, so pools divide %d less%s: end those that should not be there, or raise spec.directConnections",
			others, facts.Left, deducted, most(facts.Biggest))
	case others > facts.Left:
		return condition(kind, metav1.ConditionTrue, poolv1.ReasonHeadroom,
			"Others use %d connections and %d are left to them; looks that follow have yet to bear it out", others, facts.Left)
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonHeadroom, "Others use %d connections of the %d that are left to them", others, facts.Left)
}

func most(names []string) string {
	if len(names) == 0 {
		return ", under the pools' own roles"
	}
	return ", most by " + strings.Join(names, ", ")
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
	case facts.AdmissionProblem != "":
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonAdmissionFails,
			"New server connections can not count themselves in, so the bound rests on grants alone: %s", strings.TrimSuffix(facts.AdmissionProblem, "."))
	case !facts.AdmissionChecked:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The count of connections was not tried at the server yet")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonAdmissionQuery, "Every new server connection counts itself in at the server")
}

func number(v *int32) int32 {
	if v == nil {
		return 0
	}
	return *v
}
