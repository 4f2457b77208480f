// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the kinds of the poolfleet.dev API group: ConnectionPool,
// which a team applies, and Upstream, which the operator keeps, one for each
// PostgreSQL server. It holds types and names only; what they mean in action is
// decided elsewhere.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=poolfleet.dev
package v1alpha1
