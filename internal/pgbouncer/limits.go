// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"fmt"
)

// Limits says how many server connections each database may have, by the name
// that clients use. Every limit is at least 1: PgBouncer reads 0 as no limit.
type Limits map[string]int32

// Sum is how many server connections the limits allow together.
func (l Limits) Sum() int32 {
	var sum int32
	for _, limit := range l {
		sum += limit
	}
	return sum
}

// ShareError says that a share can not give every database a connection.
type ShareError struct {
	Share     int32
	Databases int
}

func (e *ShareError) Error() string {
	return fmt.Sprintf("a share of %d server connections is too small for %d databases, each needs at least one", e.Share, e.Databases)
}

// Split divides a share evenly over databases; what is left over goes to the
// first ones, in the order given. It returns a *ShareError where a database would
// be left with nothing.
func Split(databases []Database, share int32) (Limits, error) {
	n := int32(len(databases)) //nolint:gosec // A pool has at most 32.
	if n == 0 || share < n {
		return nil, &ShareError{Share: share, Databases: len(databases)}
	}
	limits := make(Limits, n)
	for i, db := range databases {
		limits[db.Name] = share / n
		if int32(i) < share%n {
			limits[db.Name]++
		}
	}
	return limits, nil
}

// Lower is what both allow: where to be on the way from one to the other, so that
// no step allows more than the larger of the two sums. A database that only one of
// them has is left out.
func Lower(a, b Limits) Limits {
	both := Limits{}
	for name, limit := range a {
		if other, ok := b[name]; ok {
			both[name] = min(limit, other)
		}
	}
	return both
}
