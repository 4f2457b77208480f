// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package picture draws panels of a dashboard as SVG, from what a Prometheus answered.
package picture

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Panel is one of the dashboard's.
type Panel struct {
	Title string
	// Unit is Grafana's: "s", "reqps" or "short".
	Unit   string
	Series []Series
}

// Series is one line, or one layer where it is stacked on those before it.
type Series struct {
	Name    string
	Stacked bool
	Points  []Point
}

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

const (
	width, height        = 480, 240
	left, top, bottom    = 58, 34, 40
	plotWidth            = width - left - 24
	plotHeight           = height - top - bottom
	columns              = 2
	levels               = 4
	background, ink, dim = "#181b1f", "#d8d9da", "#8e9297"
)

var colours = []string{"#73bf69", "#5794f2", "#f2cc0c", "#ff9830", "#b877d9", "#f2495c"}

// SVG draws the panels beside each other, all from the same time to the same.
func SVG(panels []Panel, from, to time.Time) string {
	rows := (len(panels) + columns - 1) / columns
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui,sans-serif" font-size="11">`+"\n", columns*width, rows*height)
	for i, panel := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*width, i/columns*height)
		fmt.Fprintf(&b, `<rect x="4" y="4" width="%d" height="%d" rx="4" fill="%s"/>`+"\n", width-8, height-8, background)
		fmt.Fprintf(&b, `<text x="16" y="23" fill="%s" font-size="13">%s</text>`+"\n", ink, html.EscapeString(panel.Title))
		panel.draw(&b, from, to)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw writes the panel's scales, its layers and lines, and what they are called. What
// was 0 all the time has no name.
func (p Panel) draw(b *strings.Builder, from, to time.Time) {
	layers := p.stack()
	ceiling, floor := 0.0, 0.0
	for _, layer := range layers {
		for _, point := range layer.upper {
			ceiling, floor = max(ceiling, point.Value), min(floor, point.Value)
		}
	}
	scale := scale{from: from, to: to, floor: -round(-floor), ceiling: cmp.Or(round(ceiling), 1)}
	p.drawScales(b, scale)
	x := left
	for i, layer := range layers {
		colour := colours[i%len(colours)]
		if len(layer.lower) > 0 {
			around := slices.Clone(layer.lower)
			slices.Reverse(around)
			fmt.Fprintf(b, `<path d="%sZ" fill="%s" fill-opacity=".5"/>`+"\n", scale.line(slices.Concat(layer.upper, around)), colour)
		}
		if len(layer.upper) > 0 {
			fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", scale.line(layer.upper), colour)
		}
		name := p.Series[i].Name
		if width := 30 + 6*len(name); !p.Series[i].rests() && x+width < left+plotWidth+24 {
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="3" fill="%s"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
				x, height-18, colour, x+16, height-13, dim, html.EscapeString(name))
			x += width
		}
	}
}

// rests says that it was 0 all the time.
func (s Series) rests() bool {
	return !slices.ContainsFunc(s.Points, func(p Point) bool { return p.Value != 0 })
}

func (p Panel) drawScales(b *strings.Builder, s scale) {
	for i := range levels + 1 {
		value := s.floor + (s.ceiling-s.floor)*float64(i)/levels
		fmt.Fprintf(b, `<path d="M%d %.1fh%d" stroke="#2c3035"/><text x="%d" y="%.1f" fill="%s" text-anchor="end">%s</text>`+"\n",
			left, s.y(value), plotWidth, left-6, s.y(value)+4, dim, p.label(value))
	}
	for i := range levels + 1 {
		at := s.from.Add(s.to.Sub(s.from) * time.Duration(i) / levels)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="%s" text-anchor="middle">%s</text>`+"\n", s.x(at), height-bottom+14, dim, at.Sub(s.from).Round(time.Second))
	}
}

// layer is a series where it is drawn; lower is empty for a line.
type layer struct{ upper, lower []Point }

// stack puts each series that is stacked on those before it.
func (p Panel) stack() (layers []layer) {
	below := map[time.Time]float64{}
	for _, series := range p.Series {
		drawn := layer{upper: slices.Clone(series.Points)}
		if series.Stacked {
			for i, point := range series.Points {
				drawn.lower = append(drawn.lower, Point{point.Time, below[point.Time]})
				below[point.Time] += point.Value
				drawn.upper[i].Value = below[point.Time]
			}
		}
		layers = append(layers, drawn)
	}
	return layers
}

func (p Panel) label(value float64) string {
	switch {
	case p.Unit == "s" && value != 0 && math.Abs(value) < 1:
		return strconv.FormatFloat(1000*value, 'f', -1, 64) + " ms"
	case p.Unit == "s":
		return strconv.FormatFloat(value, 'f', -1, 64) + " s"
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}

type scale struct {
	from, to       time.Time
	floor, ceiling float64
}

func (s scale) x(at time.Time) float64 {
	return left + plotWidth*at.Sub(s.from).Seconds()/s.to.Sub(s.from).Seconds()
}

func (s scale) y(value float64) float64 {
	return top + plotHeight*(s.ceiling-value)/(s.ceiling-s.floor)
}

// line is a path through the points; a gap between them is none in it.
func (s scale) line(points []Point) string {
	var path strings.Builder
	for i, point := range points {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, s.x(point.Time), s.y(point.Value))
	}
	return path.String()
}

// round is the next number above that quarters of it read well.
func round(value float64) float64 {
	if value <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(value)))
	for _, times := range []float64{1, 2, 4, 6, 8} {
		if value <= times*unit {
			return times * unit
		}
	}
	return 10 * unit
}
