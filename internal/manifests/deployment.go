// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
)

const (
	// keptRevisions of the Deployment are enough to go back by hand; each is a ReplicaSet.
	keptRevisions = 3
	// minReadySeconds lets a new pooler's address reach the nodes before an old pooler goes.
	minReadySeconds = 2
)

// deployment runs the poolers. A new pod comes before an old one goes: it holds
// no server connection until it is granted one, so surging is safe.
//
// Configuration, grants and replicas are not part of the pod template: only a new
// image or pod shape replaces pods.
func deployment(in Inputs) *appsv1ac.DeploymentApplyConfiguration {
	name := PooledName(in.Pool.Name)
	deployment := appsv1ac.Deployment(name, in.Pool.Namespace)
	deployment.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, nil)
	return deployment.WithSpec(appsv1ac.DeploymentSpec().
		WithReplicas(in.Replicas).
		WithMinReadySeconds(minReadySeconds).
		WithRevisionHistoryLimit(keptRevisions).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(in.Pool.Name))).
		WithStrategy(appsv1ac.DeploymentStrategy().
			WithType(appsv1.RollingUpdateDeploymentStrategyType).
			WithRollingUpdate(appsv1ac.RollingUpdateDeployment().
				WithMaxSurge(intstr.FromInt32(1)).
				WithMaxUnavailable(intstr.FromInt32(0)))).
		WithTemplate(podTemplate(in)))
}
