// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// jsonWriter writes values as JSON.stringify does, up to a size and a depth.
type jsonWriter struct {
	out   []byte
	depth int
	limit int
	// leaf writes what JSON has no form for; nil writes it as JavaScript's own classes do.
	leaf func(out []byte, v value) ([]byte, error)
}

func (w *jsonWriter) write(v value) error {
	var err error
	switch known := v.(type) {
	case nil, undefined:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, known)
	case float64:
		w.number(known)
	case string:
		w.out = appendJSONString(w.out, known)
	case *list:
		err = w.list(known)
	case *object:
		err = w.object(known)
	default:
		w.out, err = w.leaf(w.out, v)
	}
	if err == nil && len(w.out) > w.limit {
		err = errTooLarge
	}
	return err
}

func (w *jsonWriter) number(number float64) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		w.out = append(w.out, "null"...)
		return
	}
	w.out = appendNumber(w.out, number)
}

func (w *jsonWriter) list(many *list) error {
	if w.depth--; w.depth < 0 {
		return errNested
	}
	w.out = append(w.out, '[')
	for i, item := range many.items {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.write(item); err != nil {
			return err
		}
	}
	w.depth++
	w.out = append(w.out, ']')
	return nil
}

func (w *jsonWriter) object(one *object) error {
	if w.depth--; w.depth < 0 {
		return errNested
	}
	w.out = append(w.out, '{')
	first := true
	for i, key := range one.shape.keys {
		if _, none := one.values[i].(undefined); none {
			continue
		}
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		w.out = append(appendJSONString(w.out, key), ':')
		if err := w.write(one.values[i]); err != nil {
			return err
		}
	}
	w.depth++
	w.out = append(w.out, '}')
	return nil
}

const hexDigits = "0123456789abcdef"

func appendJSONString(out []byte, text string) []byte {
	out = append(out, '"')
	begun := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				out = append(append(out, text[begun:i]...), "\ufffd"...)
				begun = i + 1
			}
			i += size
			continue
		}
		out = appendEscape(append(out, text[begun:i]...), c)
		i++
		begun = i
	}
	return append(append(out, text[begun:]...), '"')
}

func appendEscape(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	return append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// plainLeaf writes dates and bytes as JavaScript's JSON.stringify does of its own accord.
func plainLeaf(out []byte, v value) ([]byte, error) {
	switch known := v.(type) {
	case date:
		if !known.valid {
			return append(out, "null"...), nil
		}
		return appendJSONString(out, known.iso()), nil
	case octets:
		out = append(out, `{"type":"Buffer","data":[`...)
		for i, octet := range known {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendUint(out, uint64(octet), 10)
		}
		return append(out, "]}"...), nil
	}
	return append(out, "{}"...), nil
}

// base64Leaf writes dates as JSON.stringify does, and bytes in base64.
func base64Leaf(out []byte, v value) ([]byte, error) {
	if known, ok := v.(octets); ok {
		return appendJSONString(out, base64.StdEncoding.EncodeToString(known)), nil
	}
	return plainLeaf(out, v)
}
