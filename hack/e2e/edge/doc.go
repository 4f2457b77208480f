// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package edge tests that Workers in real workerd reach a PostgreSQL behind pools of
// the local cluster, with the drivers that their developers use and with the URLs as
// they are published. `make e2e-edge` runs it.
package edge
