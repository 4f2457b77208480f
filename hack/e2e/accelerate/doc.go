// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package accelerate compares what Prisma's client comes to over the gateway with what
// it comes to by itself, and over Prisma's own executor of query plans: a corpus of
// cases, each with the same rows to begin with. It needs no cluster.
package accelerate
