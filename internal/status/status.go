// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package status turns what one pass saw into conditions. It is pure: the same
// facts give the same conditions, and it decides nothing but what to say.
package status

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Facts are what one pass over a ConnectionPool saw.
type Facts struct {
	// Generation is the metadata.generation the pass read.
	Generation int64
	// Previous are the conditions as they stand, for their transition times.
	Previous []metav1.Condition
	// Blocked is what stopped the pass, if anything did.
	Blocked *Blocked
	// Probe is why the last look at the server failed although the pass went on, if it did.
	Probe *Blocked
	// Kept is why what the Secrets say of the server is not taken up: poolers keep what
	// they have.
	Kept *Blocked
	// Observed is true once the server's limits are known.
	Observed bool
	// Declared is the stand-in for the server's word, if the spec has one.
	Declared *int32
	// Account is the pool's line in the Upstream, once it has one.
	Account *Account
	// Paused is whether clients are to wait.
	Paused bool
	// Poolers are the pods as their Deployment counts them, once there is one.
	Poolers *Poolers
	// Config says which pods run which configuration.
	Config Config
	// Edge is how the pool stands with the gateway; nil where it does not ask for it.
	Edge *Edge
}

// Account is a pool's line in its Upstream's ledger.
type Account struct {
	Upstream string
	// Budget is what all pools of the server may take.
	Budget         int32
	Floor, Minimum int32
	// Entitled is the pool's part without loans, Share with them.
	Entitled, Share, Granted int32
	// Waiting is how many pods of the pool have no grant yet.
	Waiting int32
}

// Poolers are the pods of a pool.
type Poolers struct {
	// Wanted is spec.replicas, Bounded what the budget allows of it.
	Wanted, Bounded          int32
	Replicas, Ready, Updated int32
	// Current is true when the counts speak of the newest Deployment.
	Current bool
}

// Config says which pods run which configuration.
type Config struct {
	Revision string
	// Applied and Pods are how many pods run Revision, of how many that have a grant.
	Applied, Pods int32
	// Unasked are those of Pods that were not asked yet: the operator has just started.
	Unasked int32
	// Same is true where Revision is the one that Previous speaks of.
	Same bool
	// Paused is how many of Pods hold their clients.
	Paused int32
	// Problem is why a pod refuses it, in PgBouncer's words.
	Problem string
	// Kept is why a part of the configuration stays as it was although the spec, or a
	// Secret that it names, asks for another.
	Kept *Blocked
	// Note is what a person should know of a configuration that is applied.
	Note string
}

// Compute returns every condition of a pool, in a fixed order.
func Compute(facts Facts, now metav1.Time) []metav1.Condition {
	parts := []metav1.Condition{
		upstreamObserved(facts), budgetGranted(facts), poolersAvailable(facts), configApplied(facts),
	}
	ready := readyOf(facts, parts)
	all := append([]metav1.Condition{ready}, parts...)
	all = append(all, edgePublished(facts)...)
	all = append(all, progress(facts, ready, parts)...)
	for i := range all {
		all[i].ObservedGeneration = facts.Generation
		all[i].LastTransitionTime = transition(facts.Previous, all[i], now)
	}
	return all
}

func transition(previous []metav1.Condition, c metav1.Condition, now metav1.Time) metav1.Time {
	if old := meta.FindStatusCondition(previous, c.Type); old != nil && old.Status == c.Status {
		return old.LastTransitionTime
	}
	return now
}

func condition(kind string, status metav1.ConditionStatus, reason, format string, args ...any) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// blockedOn returns the condition that stopped the pass, if it is of this kind.
func blockedOn(facts Facts, kind string) (metav1.Condition, bool) {
	if b := facts.Blocked; b != nil && b.Condition == kind {
		return condition(kind, metav1.ConditionFalse, b.Reason, "%s", b.Message), true
	}
	return metav1.Condition{}, false
}

func upstreamObserved(facts Facts) metav1.Condition {
	const kind = poolv1.ConditionUpstreamObserved
	if c, ok := blockedOn(facts, kind); ok {
		return c
	}
	switch {
	case facts.Kept != nil:
		return condition(kind, metav1.ConditionFalse, facts.Kept.Reason, "%s; until then poolers keep the server and the password that they have", facts.Kept.Message)
	case facts.Probe != nil:
		return condition(kind, metav1.ConditionFalse, facts.Probe.Reason, "%s; the last known limits stay in force", facts.Probe.Message)
	case facts.Declared != nil:
		return condition(kind, metav1.ConditionTrue, poolv1.ReasonDeclared,
			"spec.upstream.maxConnections stands in for the server's own limit: %d", *facts.Declared)
	case facts.Observed:
		return condition(kind, metav1.ConditionTrue, poolv1.ReasonObserved, "The server's limits were read")
	}
	return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The server was not asked yet")
}

func budgetGranted(facts Facts) metav1.Condition {
	const kind = poolv1.ConditionBudgetGranted
	if c, ok := blockedOn(facts, kind); ok {
		return c
	}
	a := facts.Account
	switch {
	case a == nil:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "The pool has no line in a server's account yet")
	case tooLittle(facts, a) != "":
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonInsufficientBudget, "%s", tooLittle(facts, a))
	case a.Waiting > 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonWaitingForRelease,
			"%d of the pool's pods wait for connections that others have yet to let go of", a.Waiting)
	case a.Granted == 0 && wanted(facts) > 0:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "No pod has asked for connections yet")
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonGranted, "%d of %d connections granted", a.Granted, a.Share)
}

// tooLittle says what the pool's part does not suffice for; empty where it does.
func tooLittle(facts Facts, a *Account) string {
	switch {
	case wanted(facts) == 0:
	case a.Entitled == 0 && a.Minimum > a.Floor:
		return fmt.Sprintf("Upstream %s has %d connections for pools and the pool's minimum of %d does not fit beside those of the pools that run: lower it or theirs, or raise the server's max_connections",
			a.Upstream, a.Budget, a.Minimum)
	case a.Entitled < a.Floor:
		return fmt.Sprintf("Upstream %s has %d connections for pools and none is left for this one: a pooler needs at least %d; raise the server's max_connections or the CONNECTION LIMIT of its role or database, or lower the claims of its other pools",
			a.Upstream, a.Budget, a.Floor)
	case facts.Poolers != nil && facts.Poolers.Bounded < facts.Poolers.Wanted:
		return fmt.Sprintf("The pool's %d connections are enough for %d of %d poolers at %d each: lower spec.replicas, or raise the server's max_connections or the CONNECTION LIMIT of its role or database",
			a.Entitled, facts.Poolers.Bounded, facts.Poolers.Wanted, a.Floor)
	}
	return ""
}

func wanted(facts Facts) int32 {
	if facts.Poolers == nil {
		return 1
	}
	return facts.Poolers.Wanted
}

func poolersAvailable(facts Facts) metav1.Condition {
	const kind = poolv1.ConditionPoolersAvailable
	if c, ok := blockedOn(facts, kind); ok {
		return c
	}
	p := facts.Poolers
	switch {
	case p == nil:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "There are no poolers yet")
	case p.Wanted == 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonScaledToZero, "spec.replicas is 0")
	case p.Ready == 0:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonUnavailable, "0 of %d poolers are ready", p.Bounded)
	case p.Bounded > 1 && p.Ready < p.Bounded-1:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonUnavailable, "%d of %d poolers are ready", p.Ready, p.Bounded)
	case rollingOut(p):
		return condition(kind, metav1.ConditionTrue, poolv1.ReasonRollingOut, "%d of %d poolers are ready, %d of the newest shape", p.Ready, p.Bounded, p.Updated)
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonMinimumAvailable, "%d of %d poolers are ready", p.Ready, p.Bounded)
}

func rollingOut(p *Poolers) bool {
	return !p.Current || p.Ready != p.Bounded || p.Updated != p.Bounded || p.Replicas != p.Bounded
}

func configApplied(facts Facts) metav1.Condition {
	const kind = poolv1.ConditionConfigApplied
	c := facts.Config
	if blocked, ok := blockedOn(facts, kind); ok {
		if c.Pods > 0 {
			blocked.Message += "; the poolers keep what they run"
		}
		return blocked
	}
	switch {
	case c.Revision == "":
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "There is no configuration yet")
	case c.Problem != "":
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonRejected, "%d of %d poolers run configuration %s, the others keep the one before it: %s",
			c.Applied, c.Pods, c.Revision, strings.TrimSuffix(c.Problem, "."))
	case c.Kept != nil:
		return condition(kind, metav1.ConditionFalse, c.Kept.Reason, "%s", c.Kept.Message)
	case c.Pods == 0 && wanted(facts) == 0:
		return condition(kind, metav1.ConditionTrue, poolv1.ReasonApplied, "No pooler is asked for; configuration %s waits for the next", c.Revision)
	case c.Pods == 0:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "No pooler runs yet")
	}
	return taken(facts)
}

// taken says how many pods run the newest configuration. Those who said so to the
// operator that ran before this one, which has just started, count.
func taken(facts Facts) metav1.Condition {
	const kind = poolv1.ConditionConfigApplied
	c := facts.Config
	said := c.Same && meta.IsStatusConditionTrue(facts.Previous, kind)
	switch {
	case c.Applied+c.Unasked < c.Pods:
		return condition(kind, metav1.ConditionFalse, poolv1.ReasonReloading, "%d of %d poolers run configuration %s", c.Applied, c.Pods, c.Revision)
	case c.Unasked > 0 && !said:
		return condition(kind, metav1.ConditionUnknown, poolv1.ReasonPending, "%d of %d poolers have yet to be asked what they run", c.Unasked, c.Pods)
	}
	applied := fmt.Sprintf("%d of %d poolers run configuration %s", c.Applied+c.Unasked, c.Pods, c.Revision)
	if c.Note != "" {
		applied += "; " + c.Note
	}
	return condition(kind, metav1.ConditionTrue, poolv1.ReasonApplied, "%s", applied)
}
