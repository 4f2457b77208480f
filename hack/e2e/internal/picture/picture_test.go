// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAPictureIsWellFormedAndHasEveryName(t *testing.T) {
	from := time.Unix(1000, 0)
	points := func(values ...float64) (points []Point) {
		for i, value := range values {
			points = append(points, Point{from.Add(time.Duration(i) * time.Second), value})
		}
		return points
	}
	svg := SVG([]Panel{
		{Title: "Held & granted", Unit: "short", Series: []Series{
			{"shop/web", true, points(3, 4, 5)}, {"shop/jobs", true, points(2, 1, 0)}, {"budget", false, points(9, 9, 9)},
		}},
		{Title: "Lent", Unit: "s", Series: []Series{{"a", false, points(-2, 0.5)}, {"nothing", true, nil}}},
	}, from, from.Add(2*time.Second))
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("it can not be read: %v\n%s", err, svg)
		}
	}
	for want, said := range map[string]bool{"Held &amp; granted": true, "shop/web": true, "shop/jobs": true, "budget": true, "nothing": false} {
		if strings.Contains(svg, ">"+want+"<") != said {
			t.Errorf("it names %s: %t\n%s", want, !said, svg)
		}
	}
}

func TestALayerLiesOnThoseBeforeIt(t *testing.T) {
	at := time.Unix(1000, 0)
	one := func(value float64) []Point { return []Point{{at, value}} }
	got := Panel{Series: []Series{{"a", true, one(3)}, {"b", true, one(4)}, {"line", false, one(5)}}}.stack()
	want := []layer{{one(3), one(0)}, {one(7), one(3)}, {one(5), nil}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(layer{})); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestScalesEndAtNumbersThatReadWell(t *testing.T) {
	for value, want := range map[float64]float64{0: 0, -1: 0, 0.003: 0.004, 1: 1, 37: 40, 41: 60, 95: 100, 1500: 2000} {
		if got := round(value); got < want*0.999 || got > want*1.001 {
			t.Errorf("%g ends at %g, want %g", value, got, want)
		}
	}
}
