// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package budget divides a server's connections: how many there are to divide
// (Capacity), what each pool gets (Shares) and has use for (Demand), and what each
// pod may open while pods come, go and are slow to answer (Next). It decides in
// values alone: it reads no clock, reaches no server, and whoever calls it does
// what it says.
package budget
