// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// readyOf sums up: the first part that is False is why clients can't connect, and
// where none is, the first that is not known.
// A budget too small for every pooler asked for, and a reload under way, leave
// the running poolers serving, so they do not count against it. Nor does a server that
// is away while clients are held.
func readyOf(facts Facts, parts []metav1.Condition) metav1.Condition {
	const kind = poolv1.ConditionReady
	serving := facts.Poolers != nil && facts.Poolers.Ready > 0
	held, reason := holding(facts)
	paused := reason != ""
	missing := slices.DeleteFunc(slices.Clone(parts), func(p metav1.Condition) bool {
		return p.Status == metav1.ConditionTrue || serving && (paused && p.Type != poolv1.ConditionPoolersAvailable || tolerable(facts, p))
	})
	for _, p := range missing {
		if p.Status == metav1.ConditionFalse {
			return condition(kind, metav1.ConditionFalse, p.Reason, "%s", p.Message)
		}
	}
	switch {
	case len(missing) > 0:
		return condition(kind, unknownUnless(facts.Poolers != nil), missing[0].Reason, "%s", missing[0].Message)
	case paused:
		return condition(kind, metav1.ConditionFalse, reason, "%s", held)
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonAvailable, "Clients can connect")
}

// holding says whether clients are held, or are to be, and how far that is; without a
// reason they are served, as they are while one pooler has resumed.
func holding(facts Facts) (words, reason string) {
	c := facts.Config
	all := c.Paused == c.Pods
	switch {
	case facts.Paused && !all:
		reason = poolv1.ReasonPausing
	case facts.Paused:
		reason = poolv1.ReasonPaused
	case c.Pods > 0 && all:
		return fmt.Sprintf("spec.state is Running: %d of %d poolers have yet to let their clients go on", c.Paused, c.Pods), poolv1.ReasonResuming
	default:
		return "", ""
	}
	return fmt.Sprintf("spec.state is Paused: %d of %d poolers hold their clients until it is Running", c.Paused, c.Pods), reason
}

func unknownUnless(started bool) metav1.ConditionStatus {
	if started {
		return metav1.ConditionFalse
	}
	return metav1.ConditionUnknown
}

// tolerable reports whether poolers that run serve their clients all the same: with
// what they have, where another server or password is not taken up, and from a primary
// where a standby is meant.
func tolerable(facts Facts, c metav1.Condition) bool {
	if c.Type != poolv1.ConditionUpstreamObserved {
		return c.Type == poolv1.ConditionBudgetGranted || c.Type == poolv1.ConditionConfigApplied
	}
	return Full(c.Reason) || c.Reason == poolv1.ReasonNotInRecovery || facts.Kept != nil && facts.Probe == nil
}

// Full reports whether a look failed only because no connection was left for it:
// the server is there, and what was known of it still holds.
func Full(reason string) bool {
	return reason == poolv1.ReasonServerFull || reason == poolv1.ReasonRoleFull || reason == poolv1.ReasonDatabaseFull
}

// progress gives the conditions that kstatus reads: Stalled while only a person
// can help, Reconciling while the operator is still at it.
func progress(facts Facts, ready metav1.Condition, parts []metav1.Condition) []metav1.Condition {
	if b := cmp.Or(facts.Blocked, facts.Kept, facts.Probe, facts.Config.Kept); b != nil && b.Reason != poolv1.ReasonPending && !expected(facts, b) {
		return []metav1.Condition{condition(poolv1.ConditionStalled, metav1.ConditionTrue, b.Reason, "%s", b.Message)}
	}
	for _, p := range parts {
		switch p.Reason {
		case poolv1.ReasonRollingOut, poolv1.ReasonReloading, poolv1.ReasonWaitingForRelease, poolv1.ReasonPending:
			return []metav1.Condition{condition(poolv1.ConditionReconciling, metav1.ConditionTrue, p.Reason, "%s", p.Message)}
		case poolv1.ReasonInsufficientBudget, poolv1.ReasonRejected:
			return []metav1.Condition{condition(poolv1.ConditionStalled, metav1.ConditionTrue, p.Reason, "%s", p.Message)}
		}
	}
	if ready.Status != metav1.ConditionTrue && !settled(facts, ready.Reason) {
		return []metav1.Condition{condition(poolv1.ConditionReconciling, metav1.ConditionTrue, ready.Reason, "%s", ready.Message)}
	}
	return nil
}

// expected is a server that is away while clients are held for its maintenance.
func expected(facts Facts, b *Blocked) bool {
	return facts.Paused && b.Condition == poolv1.ConditionUpstreamObserved &&
		(b.Reason == poolv1.ReasonUnreachable || b.Reason == poolv1.ReasonHostUnknown || Full(b.Reason))
}

// settled reports whether a pool that is not ready is what its spec asks for.
func settled(facts Facts, reason string) bool {
	switch reason {
	case poolv1.ReasonScaledToZero:
		return facts.Poolers == nil || facts.Poolers.Replicas == 0
	case poolv1.ReasonPaused:
		return true
	}
	return false
}
