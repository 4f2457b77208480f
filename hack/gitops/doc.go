// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package gitops tries what Argo CD makes of the product's resources with Argo CD's own
// code, whose libraries are older than the product's.
package gitops
