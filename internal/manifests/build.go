// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"k8s.io/apimachinery/pkg/runtime"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Build returns every object that the pool should consist of, in the order in
// which they are best made: what a pooler needs before the poolers. The same
// inputs always give the same objects.
func Build(in Inputs) []runtime.ApplyConfiguration {
	objects := []runtime.ApplyConfiguration{serviceAccount(in), configSecret(in)}
	if in.NetworkPolicy.Mode == poolv1.NetworkPolicyEnabled {
		objects = append(objects, networkPolicy(in))
	}
	return append(objects, service(in), deployment(in), podDisruptionBudget(in), publishedSecret(in))
}
