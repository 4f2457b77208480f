// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures what a pool costs, against the same without it. Both
// sides of a comparison take turns in one run, and what is reported is their
// ratio with its spread: the machine may be slow, but it is so to both. `make
// bench` runs it; nothing fails for being slow.
package bench
