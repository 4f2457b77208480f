// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
)

// Bounds, in lines. A function counts from its func keyword to its closing brace.
const (
	maxMedian   = 15
	maxNinth    = 40
	maxFunction = 80
	maxFile     = 400
)

// module is one Go module and what was measured in it.
type module struct {
	dir       string
	files     []file
	functions []function
}

// String is the module's line in the report.
func (m *module) String() string {
	lengths := m.lengths()
	return fmt.Sprintf("%-28s %4d functions: median %2d, nine in ten under %2d, longest %2d lines; %3d files",
		m.dir, len(lengths), percentile(lengths, 50), percentile(lengths, 90), percentile(lengths, 100), len(m.files))
}

// complaints names every bound the module breaks.
func (m *module) complaints() []string {
	lengths := m.lengths()
	var out []string
	if got := percentile(lengths, 50); got > maxMedian {
		out = append(out, fmt.Sprintf("half the functions are longer than %d lines; at most %d", got, maxMedian))
	}
	if got := percentile(lengths, 90); got > maxNinth {
		out = append(out, fmt.Sprintf("one function in ten is longer than %d lines; at most %d", got, maxNinth))
	}
	for _, found := range m.functions {
		if found.lines > maxFunction && !found.literal {
			out = append(out, fmt.Sprintf("%s: %s has %d lines; at most %d, unless it is a single literal",
				found.position, found.name, found.lines, maxFunction))
		}
	}
	for _, found := range m.files {
		if found.lines > maxFile {
			out = append(out, fmt.Sprintf("%s has %d lines; at most %d", found.path, found.lines, maxFile))
		}
	}
	return out
}

func (m *module) lengths() []int {
	lengths := make([]int, 0, len(m.functions))
	for _, found := range m.functions {
		lengths = append(lengths, found.lines)
	}
	slices.Sort(lengths)
	return lengths
}

// percentile returns the smallest of the sorted values that at least percent of
// them do not exceed, and 0 when there are none.
func percentile(sorted []int, percent int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}
