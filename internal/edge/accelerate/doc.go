// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package accelerate answers Prisma's clients as Prisma Accelerate does: it runs the
// query plans that they compile, keeps their interactive transactions, and checks the key
// of every request by logging in with what the key carries. It reads no Secret, and
// remembers no password beyond the request or the transaction that it is for.
package accelerate
