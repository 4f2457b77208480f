// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

// parameters writes a statement's values as PostgreSQL reads them, in text.
func (x *execution) parameters(of rendered) ([][]byte, error) {
	out := make([][]byte, len(of.args))
	size := 0
	for i, arg := range of.args {
		var kind argType
		if i < len(of.types) {
			kind = of.types[i]
		}
		var err error
		if out[i], err = x.parameter(kind.adapt(arg)); err != nil {
			return nil, err
		}
		size += len(out[i])
	}
	if size > x.limits.ResultBytes {
		return nil, errTooLarge
	}
	return out, nil
}

// adapt turns a value into what its type takes: dates into the text of the column's
// type, base64 into bytes.
func (t argType) adapt(arg value) value {
	switch known := arg.(type) {
	case *list:
		if !t.list {
			return arg
		}
		adapted := &list{make([]value, len(known.items))}
		for i, item := range known.items {
			adapted.items[i] = t.adapt(item)
		}
		return adapted
	case string:
		switch t.scalar {
		case "datetime":
			return t.dateText(parseDate(known))
		case "bytes":
			return decodeBase64(known)
		}
	case date:
		return t.dateText(known)
	}
	return arg
}

func (t argType) dateText(of date) string {
	switch t.dbType {
	case "TIME", "TIMETZ":
		return of.timeText()
	case "DATE":
		return of.dayText()
	}
	return of.timestampText()
}

// decodeBase64 takes either alphabet, with or without padding, and what is before the
// first mistake, as Node's Buffer does.
func decodeBase64(text string) octets {
	text = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "").Replace(text)
	decoded, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return decoded
}

// parameter writes one value; nil is NULL.
func (x *execution) parameter(v value) ([]byte, error) {
	switch known := v.(type) {
	case nil, undefined:
		return nil, nil
	case string:
		return []byte(known), nil
	case bool:
		return strconv.AppendBool(nil, known), nil
	case float64:
		return appendNumber(nil, known), nil
	case octets:
		return appendBytea(nil, known), nil
	case date:
		return []byte(known.timestampText()), nil
	case *list:
		return x.arrayText(nil, known, x.limits.Depth)
	}
	return x.stringify(v, plainLeaf)
}

func appendBytea(out []byte, of octets) []byte {
	return hex.AppendEncode(append(out, '\\', 'x'), of)
}

// arrayText writes an array (PostgreSQL, arrays, "Array Input and Output Syntax").
func (x *execution) arrayText(out []byte, of *list, depth int) ([]byte, error) {
	if depth < 0 || len(out) > x.limits.ResultBytes {
		return nil, errTooLarge
	}
	if err := x.spend(len(of.items)); err != nil {
		return nil, err
	}
	out = append(out, '{')
	for i, item := range of.items {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = x.elementText(out, item, depth); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func (x *execution) elementText(out []byte, item value, depth int) ([]byte, error) {
	if isNullish(item) {
		return append(out, "NULL"...), nil
	}
	if nested, ok := item.(*list); ok {
		return x.arrayText(out, nested, depth-1)
	}
	text, err := x.parameter(item)
	if err != nil {
		return nil, err
	}
	out = append(out, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"'), nil
}

// stringify writes a value as JSON.
func (x *execution) stringify(v value, leaf func([]byte, value) ([]byte, error)) ([]byte, error) {
	writer := jsonWriter{depth: x.limits.Depth, limit: x.limits.ResultBytes, leaf: leaf}
	if err := writer.write(v); err != nil {
		return nil, err
	}
	return writer.out, nil
}
