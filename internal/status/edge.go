// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Edge is how a pool that asks for the gateway stands with it.
type Edge struct {
	// Name is the pool's label under the gateway's domain, Host the full name; both are
	// empty where Refused says why it has none.
	Name, Host string
	Refused    *Blocked
}

// edgePublished is of those pools alone that ask for the gateway.
func edgePublished(facts Facts) []metav1.Condition {
	const kind = poolv1.ConditionEdgePublished
	switch {
	case facts.Edge == nil:
		return nil
	case facts.Edge.Refused != nil:
		return []metav1.Condition{condition(kind, metav1.ConditionFalse, facts.Edge.Refused.Reason, "%s", facts.Edge.Refused.Message)}
	}
	return []metav1.Condition{condition(kind, metav1.ConditionTrue, poolv1.ReasonPublished, "Workers reach the pool at %s", facts.Edge.Host)}
}
