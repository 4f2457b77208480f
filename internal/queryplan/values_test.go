// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"testing"
)

// What the texts come to is what Node.js says.

func TestNumbersAreWrittenAsJavaScriptDoes(t *testing.T) {
	for number, want := range map[float64]string{
		0: "0", 1: "1", -1.5: "-1.5", 1e21: "1e+21", 1e20: "100000000000000000000", 1e-6: "0.000001", 1e-7: "1e-7",
		1.7976931348623157e308: "1.7976931348623157e+308", 5e-324: "5e-324", 123456789012345680000: "123456789012345680000", 0.1: "0.1",
	} {
		if got := numberText(number); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDecimalsAreWrittenAsDecimalJSDoes(t *testing.T) {
	for text, want := range map[string]string{
		"1.50": "1.5", "0": "0", "-0.00": "0", "000": "0", "100": "100", "0.000001": "0.000001", "0.0000001": "1e-7", "0.00000012": "1.2e-7",
		"123456789012345678901": "123456789012345678901", "1234567890123456789012": "1.234567890123456789012e+21",
		"99999999999999999999999999999999999.5": "9.99999999999999999999999999999999995e+34", "NaN": "NaN", "1e3": "1000", "-12.30": "-12.3",
	} {
		if got, ok := decimalText(text); !ok || got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "1,234.56", "x", "1e", "1e999999999999", "--1", "."} {
		if got, ok := decimalText(text); ok {
			t.Errorf("%s was taken for %s", text, got)
		}
	}
}

func TestDatesAreReadAsJavaScriptDoes(t *testing.T) {
	for text, want := range map[string]string{
		"2001-02-03T04:05:06.1234567+00:00": "2001-02-03T04:05:06.123Z", "1970-01-01T04:05:06+02:00": "1970-01-01T02:05:06.000Z",
		"1970-01-01T24:00:00Z": "1970-01-02T00:00:00.000Z", "2024-02-30T00:00:00Z": "2024-03-01T00:00:00.000Z",
		"2024-01-01 10:00:00Z": "2024-01-01T10:00:00.000Z", "2020-01-01": "2020-01-01T00:00:00.000Z", "0001-01-01T00:00:00+00:00": "0001-01-01T00:00:00.000Z",
		"10000-01-01T00:00:00+00:00": "Invalid Date", "infinity+00:00": "Invalid Date", "0044-03-15T00:00:00 BC+00:00": "Invalid Date",
		"1970-01-01T24:00:01Z": "Invalid Date", "": "Invalid Date", "1900-01-01T00:00:00+05:53:28": "Invalid Date", "2001-13-01": "Invalid Date",
	} {
		if got := parseDate(text).iso(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestParametersAreWrittenForTheirTypes(t *testing.T) {
	when := parseDate("2001-02-03T04:05:06.070Z")
	for name, test := range map[string]struct {
		kind  argType
		value value
		want  string
	}{
		"text":                 {argType{scalar: "string"}, `a"b`, `a"b`},
		"number":               {argType{scalar: "int"}, 5.0, `5`},
		"boolean":              {argType{scalar: "boolean"}, true, `true`},
		"timestamp":            {argType{scalar: "datetime", dbType: "TIMESTAMP"}, "2001-02-03T04:05:06.070Z", `2001-02-03 04:05:06.070`},
		"date of a parameter":  {argType{scalar: "unknown"}, when, `2001-02-03 04:05:06.070`},
		"day":                  {argType{scalar: "datetime", dbType: "DATE"}, when, `2001-02-03`},
		"time":                 {argType{scalar: "datetime", dbType: "TIME"}, when, `04:05:06.070`},
		"time with a zone":     {argType{scalar: "datetime", dbType: "TIMETZ"}, "1970-01-01T04:05:06Z", `04:05:06`},
		"bytes":                {argType{scalar: "bytes"}, "AQL_", `\x0102ff`},
		"list":                 {argType{list: true, scalar: "string"}, listOf(`a"b\c`, nil, "", "NULL"), `{"a\"b\\c",NULL,"","NULL"}`},
		"list of dates":        {argType{list: true, scalar: "datetime", dbType: "DATE"}, listOf("2001-02-03T00:00:00.000Z"), `{"2001-02-03"}`},
		"list of bytes":        {argType{list: true, scalar: "bytes"}, listOf("AQ=="), `{"\\x01"}`},
		"lists":                {argType{list: true, scalar: "int"}, listOf(listOf(1.0, 2.0), listOf(3.0)), `{{"1","2"},{"3"}}`},
		"record":               {argType{scalar: "json"}, newObject().with("a", listOf(1.0)), `{"a":[1]}`},
		"what is no date":      {argType{scalar: "datetime"}, "tomorrow", `Invalid Date`},
		"list for one of none": {argType{scalar: "unknown"}, listOf(true), `{"true"}`},
	} {
		t.Run(name, func(t *testing.T) {
			x := &execution{limits: DefaultLimits, work: DefaultLimits.Work}
			got, err := x.parameters(rendered{args: []value{test.value}, types: []argType{test.kind}})
			if err != nil || string(got[0]) != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
	x := &execution{limits: DefaultLimits, work: DefaultLimits.Work}
	if got, err := x.parameters(rendered{args: []value{nil, undefined{}}}); err != nil || got[0] != nil || got[1] != nil {
		t.Errorf("null is %q, %v", got, err)
	}
}
