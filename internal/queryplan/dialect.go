// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

// dialect is in what versions differ that the plan does not show: how they read values,
// and how they tell of errors. The numbers are those of @prisma/adapter-pg and
// @prisma/client-engine-runtime.
type dialect struct {
	wholeDiff       bool   // 6.16 compares records whole.
	roundedDates    bool   // Up to 6.17 timestamps are cut to milliseconds when they are read.
	names           bool   // From 7.0 on columns may be of the type name.
	inputErrors     bool   // From 7.2 on input that a type does not know, and results that do not fit, have codes.
	dateParams      bool   // From 7.5 on parameters of the type DateTime are dates.
	quotedColumns   bool   // From 7.6 on a missing column's name is told with its table's.
	genericErrors   bool   // From 7.9 on errors without a code of their own have P2039.
	spans           string // Up to 7.1 clients read spans from "traces", which no executor wrote.
	constraintNames bool   // From 7.10 on a unique constraint is told by its name, and restricted deletions have a code.
}

func dialectOf(version Version) dialect {
	since := func(major, minor int) bool {
		return version.Major > major || version.Major == major && version.Minor >= minor
	}
	spans := "spans"
	if !since(7, 2) {
		spans = "traces"
	}
	return dialect{
		spans:           spans,
		wholeDiff:       !since(6, 17),
		roundedDates:    !since(6, 18),
		names:           since(7, 0),
		inputErrors:     since(7, 2),
		dateParams:      since(7, 5),
		quotedColumns:   since(7, 6),
		genericErrors:   since(7, 9),
		constraintNames: since(7, 10),
	}
}
