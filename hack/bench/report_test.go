// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// median of some numbers; of an even count the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// pairs are two sides measured in turns.
type pairs struct{ ours, theirs []float64 }

func (p *pairs) add(ours, theirs float64) {
	p.ours, p.theirs = append(p.ours, ours), append(p.theirs, theirs)
}

// ratios are those of each turn.
func (p *pairs) ratios() []float64 {
	ratios := make([]float64, 0, len(p.ours))
	for i := range p.ours {
		ratios = append(ratios, p.ours[i]/p.theirs[i])
	}
	return ratios
}

// inTurns does both, and every second time the other first: whoever comes second
// finds the machine as the first has left it.
func inTurns(turn int, a, b func()) {
	if turn%2 == 1 {
		a, b = b, a
	}
	a()
	b()
}

// table prints aligned columns to standard output.
type table struct{ *tabwriter.Writer }

func newTable(title string, columns string) table {
	fmt.Printf("\n%s\n", title)
	t := table{tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	t.row(columns)
	return t
}

func (t table) row(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// compare prints both medians, and the ratio's median, smallest and largest.
func (t table) compare(name, unit string, p pairs) {
	r := p.ratios()
	t.row("%s\t%.4g %s\t%.4g %s\t%.3f\t%s\t%d", name, median(p.ours), unit, median(p.theirs), unit, median(r), spread(r), len(r))
}

func spread(values []float64) string {
	return fmt.Sprintf("%.3f to %.3f", slices.Min(values), slices.Max(values))
}
