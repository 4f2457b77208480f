// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// value is what plans compute with: what JavaScript's interpreter of them has. It is nil
// for null, or one of undefined, bool, float64, string, *list, *object, date, octets
// and *tagged. Lists and objects are shared by reference, as plans expect of them.
type value any

// undefined is the value of what gives none.
type undefined struct{}

type list struct{ items []value }

// octets are a bytea's bytes.
type octets []byte

// tagged is a result whose type JSON has no equal for. Its value is brought into form
// when the answer is written, after the plan has run.
type tagged struct {
	tag   string
	value value
}

func listOf(items ...value) *list { return &list{items: items} }

// asList is the value's elements, or the value as the only one.
func asList(v value) []value {
	if many, ok := v.(*list); ok {
		return many.items
	}
	return []value{v}
}

func isEmpty(v value) bool {
	if many, ok := v.(*list); ok {
		return len(many.items) == 0
	}
	return isNullish(v)
}

func isNullish(v value) bool {
	_, none := v.(undefined)
	return none || v == nil
}

// typeOf names the value's type as messages do.
func typeOf(v value) string {
	switch v.(type) {
	case undefined:
		return "undefined"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	}
	return "object"
}

// textOf is the value within a message or as a key.
func textOf(v value) string {
	switch known := v.(type) {
	case nil:
		return "null"
	case undefined:
		return "undefined"
	case bool:
		return strconv.FormatBool(known)
	case float64:
		return numberText(known)
	case string:
		return known
	case *list:
		return textOfList(known)
	case date:
		return known.iso()
	case octets:
		return base64.StdEncoding.EncodeToString(known)
	}
	return "[object Object]"
}

// textOfList goes no deeper than lists of scalars: no message needs more.
func textOfList(many *list) string {
	parts := make([]string, len(many.items))
	for i, item := range many.items {
		if _, nested := item.(*list); !nested && !isNullish(item) {
			parts[i] = textOf(item)
		}
	}
	return strings.Join(parts, ",")
}

// numberOf is what plans add and subtract.
func numberOf(v value) (float64, error) {
	switch known := v.(type) {
	case float64:
		return known, nil
	case string:
		return parseNumber(known), nil
	}
	return 0, failure("Expected number, got %s", typeOf(v))
}
