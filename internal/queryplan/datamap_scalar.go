// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/hex"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// scalarTypes are the types that fields of results have.
var scalarTypes = map[string]bool{
	"unsupported": true, "string": true, "int": true, "bigint": true, "float": true, "boolean": true,
	"decimal": true, "datetime": true, "object": true, "json": true, "bytes": true, "enum": true,
}

// scalar brings a value into its field's type. The index is that within a list, or
// negative.
func (m *dataMapper) scalar(v value, column string, index int, of *resultNode) (value, error) {
	if index >= 0 {
		column += "[" + strconv.Itoa(index) + "]"
	}
	switch of.scalar {
	case "string":
		if _, ok := v.(string); !ok {
			return nil, m.unexpected("a string", column, v)
		}
		return v, nil
	case "int":
		return m.integer(v, column)
	case "float":
		return m.float(v, column)
	case "boolean":
		return m.boolean(v, column)
	case "bytes":
		return m.bytes(v, column, of.encoding)
	case "enum":
		return m.enum(v, of.enum)
	case "object":
		text, err := m.x.stringify(v, base64Leaf)
		return &tagged{"Json", string(text)}, err
	case "json":
		return &tagged{"Json", textOf(v)}, nil
	case "bigint", "decimal", "datetime":
		return m.tagged(v, column, of.scalar)
	}
	return v, nil
}

func (m *dataMapper) unexpected(wanted, column string, v value) error {
	return m.fail("Expected %s in column '%s', got %s: %s", wanted, column, typeOf(v), textOf(v))
}

func (m *dataMapper) integer(v value, column string) (value, error) {
	switch known := v.(type) {
	case float64:
		return math.Trunc(known), nil
	case string:
		number := math.Trunc(parseNumber(known))
		switch {
		case math.IsNaN(number) || math.IsInf(number, 0):
			return nil, m.unexpected("an integer", column, v)
		case math.Abs(number) > maxSafeInteger:
			return nil, m.fail("Integer value in column '%s' is too large to represent as a JavaScript number "+
				"without loss of precision, got: %s. Consider using BigInt type.", column, known)
		}
		return number, nil
	}
	return nil, m.unexpected("an integer", column, v)
}

var notANumber = regexp.MustCompile(`(?i)^[-+]?nan$`)

func (m *dataMapper) float(v value, column string) (value, error) {
	switch known := v.(type) {
	case float64:
		return known, nil
	case string:
		number := parseNumber(known)
		if math.IsNaN(number) && !notANumber.MatchString(known) {
			return nil, m.unexpected("a float", column, v)
		}
		return number, nil
	}
	return nil, m.unexpected("a float", column, v)
}

func (m *dataMapper) boolean(v value, column string) (value, error) {
	switch known := v.(type) {
	case bool:
		return known, nil
	case float64:
		return known == 1, nil
	case string:
		switch known {
		case "true", "TRUE", "1":
			return true, nil
		case "false", "FALSE", "0":
			return false, nil
		}
	case octets:
		return strings.Trim(string(known), "\x00") != "", nil
	}
	return nil, m.unexpected("a boolean", column, v)
}

func (m *dataMapper) bytes(v value, column, encoding string) (value, error) {
	text, isText := v.(string)
	switch encoding {
	case "base64":
		if isText {
			return &tagged{"Bytes", decodeBase64(text)}, nil
		}
		return nil, m.unexpected("a base64-encoded byte array", column, v)
	case "hex":
		if isText && strings.HasPrefix(text, `\x`) {
			decoded, _ := hex.DecodeString(text[2:]) // Up to its first mistake.
			return &tagged{"Bytes", octets(decoded)}, nil
		}
		return nil, m.unexpected("a hex-encoded byte array", column, v)
	}
	switch known := v.(type) {
	case octets:
		return &tagged{"Bytes", known}, nil
	case *list:
		return &tagged{"Bytes", octetsOf(known)}, nil
	}
	return nil, m.unexpected("a byte array", column, v)
}

// octetsOf takes the numbers of a list for bytes.
func octetsOf(of *list) octets {
	out := make(octets, len(of.items))
	for i, item := range of.items {
		if number := asNumber(item); number == math.Trunc(number) && math.Abs(number) <= maxSafeInteger {
			out[i] = byte(int64(number)) //nolint:gosec // Its lowest bits, as JavaScript takes them.
		}
	}
	return out
}

func (m *dataMapper) enum(v value, name string) (value, error) {
	values, ok := m.enums[name]
	if !ok {
		return nil, m.fail("Unknown enum '%s'", name)
	}
	known, ok := values[textOf(v)]
	if !ok {
		return nil, m.fail("Value '%s' not found in enum '%s'", textOf(v), name)
	}
	return known, nil
}

func (m *dataMapper) tagged(v value, column, kind string) (value, error) {
	switch known := v.(type) {
	case float64:
	case date:
		if kind != "datetime" {
			return nil, m.unexpected("a "+kind, column, v)
		}
	case string:
		if kind == "datetime" {
			v = normalDateTime(known)
		}
	default:
		if kind == "datetime" {
			kind = "date"
		}
		return nil, m.unexpected("a "+kind, column, v)
	}
	return &tagged{map[string]string{"bigint": "BigInt", "decimal": "Decimal", "datetime": "DateTime"}[kind], v}, nil
}

var timeOfDay = regexp.MustCompile(`\d{2}:\d{2}:\d{2}(?:\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)?$`)

// normalDateTime makes of a day, or of a time, a day and a time with its zone.
func normalDateTime(text string) string {
	match := timeOfDay.FindStringSubmatchIndex(text)
	if match == nil {
		return text + "T00:00:00Z"
	}
	whole := text
	switch {
	case match[2] < 0:
		whole += "Z"
	case text[match[2]:match[3]] != "Z" && match[4] < 0:
		whole += ":00"
	}
	if match[0] == 0 {
		return "1970-01-01T" + whole
	}
	if separator := match[0] - 1; whole[separator] == ' ' {
		whole = whole[:separator] + "T" + whole[separator+1:]
	}
	return whole
}
