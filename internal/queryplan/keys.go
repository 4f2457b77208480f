// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"bytes"
	"encoding/base64"
	"math"
	"slices"
)

// recordKey is the fields' values as one text, equal where they are. Casts bring values
// into the type of those that they are compared with.
func (x *execution) recordKey(v value, fields []string, casts []func(value) value) (string, error) {
	record, err := recordOf(v)
	if err != nil {
		return "", err
	}
	values := make([]value, len(fields))
	for i, field := range fields {
		values[i] = record.get(field)
		if casts != nil && casts[i] != nil && values[i] != nil {
			values[i] = casts[i](values[i])
		}
	}
	key, err := x.stringify(&list{values}, plainLeaf)
	if err != nil {
		return "", err
	}
	return string(key), x.spend(len(fields) + len(key)/64)
}

// wholeKey is all of a value as a text.
func (x *execution) wholeKey(v value) (string, error) {
	key, err := x.stringify(v, plainLeaf)
	if err != nil {
		return "", err
	}
	return string(key), x.spend(1 + len(key)/64)
}

// keysMatch tells whether the record is where the cursor points. Of keys that one of
// them lacks those of the smaller are compared.
func keysMatch(record, cursor *object) bool {
	keys := cursor.shape.keys
	if len(record.shape.keys) < len(keys) {
		keys = record.shape.keys
	}
	for _, key := range keys {
		if !sameKey(record.get(key), cursor.get(key)) {
			return false
		}
	}
	return true
}

func sameKey(a, b value) bool {
	if typeOf(a) == typeOf(b) && typeOf(a) != "object" {
		return a == b
	}
	switch {
	case is[octets](a) || is[octets](b):
		first, ok := asOctets(a)
		second, too := asOctets(b)
		return ok && too && bytes.Equal(first, second)
	case is[date](a) || is[date](b):
		return asDate(a).equal(asDate(b))
	case is[float64](a) || is[float64](b):
		return asNumber(a) == asNumber(b)
	}
	return sameValue(a, b)
}

func is[T any](v value) bool { _, ok := v.(T); return ok }

func (d date) equal(other date) bool { return d.valid && other.valid && d.at.Equal(other.at) }

// sameValue compares lists by their elements, and what is no list by itself: cursors
// hold no objects.
func sameValue(a, b value) bool {
	first, ok := a.(*list)
	second, too := b.(*list)
	if ok && too {
		return slices.EqualFunc(first.items, second.items, func(c, d value) bool {
			_, nested := c.(*list)
			return !nested && sameValue(c, d)
		})
	}
	switch a.(type) {
	case *list, octets:
		return false
	}
	switch b.(type) {
	case *list, octets:
		return false
	}
	return a == b
}

func asOctets(v value) (octets, bool) {
	switch known := v.(type) {
	case octets:
		return known, true
	case string:
		return decodeBase64(known), true
	}
	return nil, false
}

// asDate cuts a text's microseconds off, as comparing dates does.
func asDate(v value) date {
	switch known := v.(type) {
	case date:
		return known
	case string:
		return parseDate(known)
	}
	return date{}
}

func asNumber(v value) float64 {
	switch known := v.(type) {
	case float64:
		return known
	case string:
		return parseNumber(known)
	}
	return math.NaN()
}

// castTo is what brings values into the type that a parent's key has; nil where they
// stay as they are.
func castTo(like value) func(value) value {
	switch like.(type) {
	case float64:
		return func(v value) value { return parseNumber(textOf(v)) }
	case string:
		return castToText
	case bool:
		return func(v value) value { return v != false && v != 0.0 && v != "" && !isNullish(v) }
	}
	return nil
}

func castToText(v value) value {
	if known, ok := v.(octets); ok {
		return base64.StdEncoding.EncodeToString(known)
	}
	return textOf(v)
}
