// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package queryplan runs the query plans of Prisma's clients against PostgreSQL: it
// decodes the body of a query, interprets the plan over one connection, and gives the
// JSON, the errors and the telemetry that the client expects. A plan is data from
// outside: what it may take of depth, nodes, memory and statements is bounded.
package queryplan
