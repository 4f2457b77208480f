// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Figures is all that PgBouncer counts, at one moment, without the console's own.
type Figures struct {
	Sample Sample
	// Version is such as "PgBouncer 1.25.0".
	Version string
	// Databases, Pools and Totals are the rows of SHOW DATABASES, SHOW POOLS and SHOW
	// STATS_TOTALS, with the columns that this version of PgBouncer has.
	Databases, Pools, Totals []Row
	// Lists and Config are SHOW LISTS and SHOW CONFIG by key.
	Lists, Config Row
}

// Figures returns them from one connection.
func (a Admin) Figures(ctx context.Context) (Figures, error) {
	got, err := a.run(ctx, "SHOW VERSION", "SHOW DATABASES", "SHOW POOLS", "SHOW STATE", "SHOW STATS_TOTALS", "SHOW LISTS", "SHOW CONFIG")
	if err != nil {
		return Figures{}, err
	}
	if len(got[0]) == 0 {
		return Figures{}, fmt.Errorf("asking PgBouncer: SHOW VERSION gave no row")
	}
	databases, err1 := databaseStates(got[1])
	pools, err2 := poolStates(got[2])
	return Figures{
		Sample:    Sample{Databases: databases, Pools: pools, Paused: isPaused(got[3])},
		Version:   got[0][0]["version"],
		Databases: others(got[1], "name"), Pools: others(got[2], "database"), Totals: others(got[4], "database"),
		Lists: byKey(got[5], "list", "items"), Config: byKey(got[6], "key", "value"),
	}, errors.Join(err1, err2)
}

// others are the rows that are not the console's.
func others(rows []Row, column string) []Row {
	return slices.DeleteFunc(rows, func(row Row) bool { return row[column] == consoleName })
}

func byKey(rows []Row, key, value string) Row {
	values := Row{}
	for _, row := range rows {
		values[row[key]] = row[value]
	}
	return values
}
