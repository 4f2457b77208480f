// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

// serviceAccount gives the poolers a name of their own and no token: they never
// speak to the API server.
func serviceAccount(in Inputs) *corev1ac.ServiceAccountApplyConfiguration {
	name := PooledName(in.Pool.Name)
	account := corev1ac.ServiceAccount(name, in.Pool.Namespace).
		WithAutomountServiceAccountToken(false)
	account.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, nil)
	return account
}
