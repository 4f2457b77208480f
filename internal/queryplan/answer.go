// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/base64"
	"time"
)

// answer writes the plan's result as the protocol's JSON.
func (x *execution) answer(result value) ([]byte, error) {
	return x.stringify(result, x.resultLeaf)
}

// resultLeaf writes what JSON has no form for: values with their types, and bytes of raw
// results in base64.
func (x *execution) resultLeaf(out []byte, v value) ([]byte, error) {
	known, ok := v.(*tagged)
	if !ok {
		return base64Leaf(out, v)
	}
	text, err := x.taggedText(known)
	if err != nil {
		return nil, err
	}
	out = append(append(append(out, `{"$type":"`...), known.tag...), `","value":`...)
	return append(appendJSONString(out, text), '}'), nil
}

func (x *execution) taggedText(of *tagged) (string, error) {
	switch of.tag {
	case "Decimal":
		text, ok := decimalText(textOf(of.value))
		if !ok {
			return "", failure("[DecimalError] Invalid argument: %s", textOf(of.value))
		}
		return text, nil
	case "DateTime":
		return isoText(of.value)
	case "Json":
		return x.normalJSON(textOf(of.value))
	case "Bytes":
		if known, ok := of.value.(octets); ok {
			return base64.StdEncoding.EncodeToString(known), nil
		}
	}
	return textOf(of.value), nil
}

func isoText(v value) (string, error) {
	at := asDate(v)
	if number, ok := v.(float64); ok {
		at = dateAt(time.UnixMilli(int64(number)))
	}
	if !at.valid || at.at.Year() < 0 || at.at.Year() > 9999 {
		return "", failure("Invalid time value")
	}
	return at.iso(), nil
}

// normalJSON writes a document as JavaScript would that has parsed it.
func (x *execution) normalJSON(text string) (string, error) {
	parsed, err := x.parseJSON(text)
	if err != nil {
		return "", err
	}
	written, err := x.stringify(parsed, plainLeaf)
	return string(written), err
}
