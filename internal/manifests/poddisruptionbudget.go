// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
)

// podDisruptionBudget says how many poolers may be away at once. A pooler that is
// not ready, because it has no grant for instance, never holds up a node's drain.
func podDisruptionBudget(in Inputs) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	maxUnavailable := int32(1)
	if in.PodDisruptionBudget.MaxUnavailable != nil {
		maxUnavailable = *in.PodDisruptionBudget.MaxUnavailable
	}
	name := PooledName(in.Pool.Name)
	budget := policyv1ac.PodDisruptionBudget(name, in.Pool.Namespace)
	budget.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, nil)
	return budget.WithSpec(policyv1ac.PodDisruptionBudgetSpec().
		WithMaxUnavailable(intstr.FromInt32(maxUnavailable)).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(in.Pool.Name))).
		WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow))
}
