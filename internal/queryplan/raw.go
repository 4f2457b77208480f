// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"errors"
	"math"
)

// rawResult is what raw queries give: columns, their types, and rows of values.
func (x *execution) rawResult(result Result, kinds []columnKind) (value, error) {
	columns, types := &list{}, &list{}
	for i, field := range result.Fields {
		columns.items = append(columns.items, field.Name)
		types.items = append(types.items, kinds[i].name)
	}
	rows := &list{make([]value, len(result.Rows))}
	for i, row := range result.Rows {
		values := &list{make([]value, len(row))}
		for j, field := range row {
			var err error
			if values.items[j], err = x.rawValue(kinds[j].read(field), kinds[j].name); err != nil {
				return nil, err
			}
		}
		rows.items[i] = values
	}
	return newObject().with("columns", columns).with("types", types).with("rows", rows), nil
}

func (x *execution) rawValue(v value, kind string) (value, error) {
	switch known := v.(type) {
	case float64:
		return rawNumber(known, kind), nil
	case string:
		if kind == "json" || kind == "json-array" {
			return x.parseJSON(known)
		}
	case *list:
		for i, item := range known.items {
			if name := flatArrays[kind]; is[*list](item) && name != "" {
				return nil, failure("Cannot serialize value of type object as %s", name)
			}
			var err error
			if known.items[i], err = x.rawValue(item, kind); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// flatArrays are the types of which Prisma reads no arrays of arrays in raw results.
var flatArrays = map[string]string{"int-array": "Int32", "bigint-array": "Int64", "json-array": "Json", "bool-array": "Boolean"}

// rawNumber cuts what has to be whole, and gives large numbers as text.
func rawNumber(number float64, kind string) value {
	switch kind {
	case "int", "int-array":
		return math.Trunc(number)
	case "bigint", "bigint-array":
		return numberText(math.Trunc(number))
	}
	return number
}

// parseJSON reads a text from a result within what the plan may still do.
func (x *execution) parseJSON(text string) (value, error) {
	parsed, err := readJSON([]byte(text), x.limits.Depth, &x.work, x.shapes)
	switch {
	case err == nil:
		return parsed, nil
	case errors.Is(err, errMalformed):
		return nil, failure("Unexpected token in JSON")
	case errors.Is(err, errTooDeep):
		return nil, errNested
	}
	return nil, errTooMuchWork
}
