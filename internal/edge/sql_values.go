// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// kind is how a type's values are written where rows are not raw text, as Neon's proxy
// writes them: what JSON has no equal for is text.
type kind struct {
	scalar scalar
	array  bool
}

type scalar byte

const (
	asText    scalar = iota
	asBoolean        // bool
	asNumber         // int2, int4, and float4, float8 where they are finite
	asJSON           // json, jsonb
)

// types is read alone, and so safe for concurrent use.
var types = pgtype.NewMap()

// kindOf knows PostgreSQL's own types. Those of extensions and users, whose numbers are
// each database's, are text.
func kindOf(oid uint32) kind {
	known, found := types.TypeForOID(oid)
	if !found {
		return kind{}
	}
	codec, array := known.Codec.(*pgtype.ArrayCodec)
	switch {
	case !array:
		return kind{scalar: scalarOf(oid)}
	case codec.ElementType.OID == pgtype.BoxOID:
		return kind{} // Its elements have commas, and semicolons between them.
	}
	return kind{scalar: scalarOf(codec.ElementType.OID), array: true}
}

func scalarOf(oid uint32) scalar {
	switch oid {
	case pgtype.BoolOID:
		return asBoolean
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Float4OID, pgtype.Float8OID:
		return asNumber
	case pgtype.JSONOID, pgtype.JSONBOID:
		return asJSON
	}
	return asText
}

func (k kind) append(out, value []byte) []byte {
	if !k.array {
		return k.scalar.append(out, value)
	}
	begun := len(out)
	out, ok := appendArray(out, value, k.scalar)
	if !ok {
		return appendString(out[:begun], value)
	}
	return out
}

func (s scalar) append(out, value []byte) []byte {
	switch {
	case s == asBoolean && string(value) == "t":
		return append(out, "true"...)
	case s == asBoolean && string(value) == "f":
		return append(out, "false"...)
	case s == asNumber && finite(value), s == asJSON && json.Valid(value):
		return append(out, value...) // PostgreSQL writes both as JSON does.
	}
	return appendString(out, value)
}

func finite(value []byte) bool {
	last := len(value) - 1
	return last >= 0 && value[last] >= '0' && value[last] <= '9' && json.Valid(value)
}

// appendArray writes an array's text (PostgreSQL documentation, section Arrays, Array
// Input and Output Syntax) as JSON, array in array. It is not ok where the text is none.
func appendArray(out, text []byte, element scalar) (_ []byte, ok bool) {
	if len(text) > 0 && text[0] == '[' { // Bounds that do not begin at 1.
		_, text, _ = bytes.Cut(text, []byte{'='})
	}
	if len(text) == 0 || text[0] != '{' {
		return out, false
	}
	a := arrayText{out: out, element: element, wanted: true}
	for ok = true; ok && len(text) > 0; {
		var length int
		length, ok = a.take(text)
		text = text[length:]
		if a.depth == 0 {
			break
		}
	}
	return a.out, ok && a.depth == 0 && len(text) == 0
}

// arrayText is what was read of an array's text.
type arrayText struct {
	out     []byte
	element scalar
	depth   int
	// wanted is that an element has to follow, opened that the array may as well end.
	wanted, opened bool
}

// take reads what the text begins with, and returns how long that is.
func (a *arrayText) take(text []byte) (length int, ok bool) {
	switch {
	case text[0] == '{' && a.wanted:
		a.out, a.depth, a.opened = append(a.out, '['), a.depth+1, true
	case text[0] == '}' && (a.opened || !a.wanted):
		a.out, a.depth, a.wanted, a.opened = append(a.out, ']'), a.depth-1, false, false
	case text[0] == ',' && !a.wanted:
		a.out, a.wanted = append(a.out, ','), true
	case a.wanted:
		value, length, quoted := arrayElement(text)
		a.add(value, quoted)
		return length, length > 0
	default:
		return 0, false
	}
	return 1, true
}

func (a *arrayText) add(value []byte, quoted bool) {
	a.wanted, a.opened = false, false
	if !quoted && string(value) == "NULL" {
		a.out = append(a.out, "null"...)
		return
	}
	a.out = a.element.append(a.out, value)
}

// arrayElement reads the element that a text begins with, and how long it is there; 0
// is none.
func arrayElement(text []byte) (value []byte, length int, quoted bool) {
	if text[0] != '"' {
		length = bytes.IndexAny(text, `,{}"`)
		return text[:max(0, length)], max(0, length), false
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return value, i + 1, true
		case '\\':
			if i++; i == len(text) {
				return nil, 0, true
			}
		}
		value = append(value, text[i])
	}
	return nil, 0, true
}

const hex = "0123456789abcdef"

// appendString writes a JSON string. What is not UTF-8, as from a database whose
// encoding is SQL_ASCII, becomes U+FFFD.
func appendString(out, text []byte) []byte {
	out = append(out, '"')
	begun := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRune(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		out = append(out, text[begun:i]...)
		out = appendEscape(out, c)
		i += size
		begun = i
	}
	return append(append(out, text[begun:]...), '"')
}

func appendEscape(out []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(out, '\\', c)
	case c == '\n':
		return append(out, '\\', 'n')
	case c >= utf8.RuneSelf:
		return append(out, string(utf8.RuneError)...)
	}
	return append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
