// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

// Limits bound what one request may take.
type Limits struct {
	// Depth is how deep a plan, its values and its rows' JSON may nest.
	Depth int
	// Nodes is how many nodes, bindings, fragments and values a request's body may have.
	Nodes int
	// Statements is how many statements one plan may run, chunks included.
	Statements int
	// Rows is how many rows all statements of one plan may give together.
	Rows int
	// Work is how many values a plan may make or look at: rows times columns, parameters,
	// steps of joins.
	Work int
	// ResultBytes is how long the answer may be.
	ResultBytes int
}

// DefaultLimits allow what clients ask for in practice, with a wide margin.
var DefaultLimits = Limits{
	Depth:       200,
	Nodes:       1_500_000,
	Statements:  10_000,
	Rows:        500_000,
	Work:        8_000_000,
	ResultBytes: 64 << 20,
}
