// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package model runs the real planner and the real ledger code against a simulated
// API server, pods, PgBouncers and PostgreSQL, in any order of events, and holds
// every step against the invariants of the budget. It has tests only; nothing may
// import it.
package model
