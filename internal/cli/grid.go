// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// grid is a table that fits the terminal: its first column gives way, and cells can
// have colours. text/tabwriter has neither.
type grid struct {
	rows [][]string
	// paint colours whole cells by their text.
	paint map[string]func(string) string
}

const gap = 2

func (g *grid) row(cells ...string) { g.rows = append(g.rows, cells) }

// write aligns the columns. The last one is not padded.
func (g *grid) write(w io.Writer) {
	widths := g.widths()
	for _, row := range g.rows {
		var line strings.Builder
		for i, cell := range row {
			cell = shortened(cell, widths[i])
			pad := widths[i] - utf8.RuneCountInString(cell) + gap
			if paint := g.paint[cell]; paint != nil {
				cell = paint(cell)
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", pad))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func (g *grid) widths() []int {
	var widths []int
	for _, row := range g.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	others := 0
	for i := 1; i < len(widths); i++ {
		others += widths[i] + gap
	}
	if len(widths) > 0 {
		widths[0] = min(widths[0], max(columns-others, 12))
	}
	return widths
}

// shortened keeps both ends: names of pods differ at the end, those of pools mostly
// at the beginning.
func shortened(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	end := (width - 1) / 2
	return string(runes[:width-1-end]) + "…" + string(runes[len(runes)-end:])
}

// wrap writes text in lines that fit; all but the first are indented. A word that is
// too long for a line, such as a URL, has one of its own.
func wrap(w io.Writer, text string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns:
				fmt.Fprintln(w, line)
				line = "  " + word
			default:
				line += " " + word
			}
		}
		fmt.Fprintln(w, line)
	}
}
