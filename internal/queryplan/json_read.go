// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads JSON into values as JavaScript would: with keys in their order, and
// numbers as float64. It is bounded in depth and in how many values it makes.
type jsonReader struct {
	text   []byte
	at     int
	depth  int
	budget *int
	shapes map[string]*shape
	joined []byte
}

var (
	errMalformed = errors.New("malformed JSON")
	errTooDeep   = errors.New("JSON nested too deeply")
	errTooMany   = errors.New("JSON of too many values")
)

// readJSON reads all of the text. It takes from the budget what it makes; shapes holds
// those that objects may share, and may be nil.
func readJSON(text []byte, depth int, budget *int, shapes map[string]*shape) (value, error) {
	reader := jsonReader{text: text, depth: depth, budget: budget, shapes: shapes}
	v, err := reader.value()
	if err != nil {
		return nil, err
	}
	if reader.peek() != 0 || reader.at < len(text) {
		return nil, errMalformed
	}
	return v, nil
}

// peek is the next byte that is no space, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) value() (value, error) {
	if *r.budget--; *r.budget < 0 {
		return nil, errTooMany
	}
	switch c := r.peek(); c {
	case '{':
		return r.nested(r.object)
	case '[':
		return r.nested(r.list)
	case '"':
		return r.string()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	default:
		return r.number()
	}
}

func (r *jsonReader) nested(read func() (value, error)) (value, error) {
	if r.depth--; r.depth < 0 {
		return nil, errTooDeep
	}
	r.at++
	v, err := read()
	r.depth++
	return v, err
}

func (r *jsonReader) word(word string) error {
	if len(r.text)-r.at < len(word) || string(r.text[r.at:r.at+len(word)]) != word {
		return errMalformed
	}
	r.at += len(word)
	return nil
}

// more tells whether an element follows: the first after the opening bracket, another
// after a comma.
func (r *jsonReader) more(first bool, closing byte) (bool, error) {
	switch c := r.peek(); {
	case c == closing:
		r.at++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		r.at++
		return true, nil
	}
	return false, errMalformed
}

func (r *jsonReader) list() (value, error) {
	read := &list{}
	for {
		more, err := r.more(len(read.items) == 0, ']')
		if err != nil || !more {
			return read, err
		}
		item, err := r.value()
		if err != nil {
			return nil, err
		}
		read.items = append(read.items, item)
	}
}

func (r *jsonReader) object() (value, error) {
	var keys []string
	var values []value
	for {
		more, err := r.more(len(keys) == 0, '}')
		if err != nil {
			return nil, err
		}
		if !more {
			return r.objectOf(keys, values), nil
		}
		if r.peek() != '"' {
			return nil, errMalformed
		}
		key, err := r.string()
		if err != nil {
			return nil, err
		}
		if r.peek() != ':' {
			return nil, errMalformed
		}
		r.at++
		item, err := r.value()
		if err != nil {
			return nil, err
		}
		keys, values = append(keys, key), append(values, item)
	}
}

// sharedShapes bounds how many shapes objects of one text may share.
const sharedShapes = 256

func (r *jsonReader) objectOf(keys []string, values []value) *object {
	r.joined = r.joined[:0]
	for _, key := range keys {
		r.joined = append(strconv.AppendInt(r.joined, int64(len(key)), 10), ':')
		r.joined = append(r.joined, key...)
	}
	if known := r.shapes[string(r.joined)]; known != nil {
		return &object{shape: known, values: values}
	}
	made := &object{shape: newShape(keys), values: values}
	if made.dropRepeated() || r.shapes == nil || len(r.shapes) >= sharedShapes {
		made.orderKeys()
		return made
	}
	before := made.shape
	if made.orderKeys(); made.shape == before {
		r.shapes[string(r.joined)] = made.shape
	}
	return made
}

// dropRepeated leaves of a key that is there more than once the last value, in the place
// of the first.
func (o *object) dropRepeated() bool {
	first := make(map[string]int, len(o.shape.keys))
	var keys []string
	var values []value
	for i, key := range o.shape.keys {
		if at, seen := first[key]; seen {
			values[at] = o.values[i]
			continue
		}
		first[key] = len(keys)
		keys, values = append(keys, key), append(values, o.values[i])
	}
	if len(keys) == len(o.shape.keys) {
		return false
	}
	o.shape, o.values = newShape(keys), values
	return true
}

func (r *jsonReader) number() (value, error) {
	begun := r.at
	r.accept('-')
	if !r.accept('0') && !r.digits() {
		return nil, errMalformed
	}
	if r.accept('.') && !r.digits() {
		return nil, errMalformed
	}
	if r.accept('e') || r.accept('E') {
		_ = r.accept('+') || r.accept('-')
		if !r.digits() {
			return nil, errMalformed
		}
	}
	number, _ := strconv.ParseFloat(string(r.text[begun:r.at]), 64) // Beyond the range it is infinite.
	return number, nil
}

func (r *jsonReader) accept(c byte) bool {
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) digits() bool {
	begun := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > begun
}

func (r *jsonReader) string() (string, error) {
	r.at++
	begun := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return validText(r.text[begun : r.at-1]), nil
		case c == '\\':
			return r.escaped(r.text[begun:r.at])
		case c < ' ':
			return "", errMalformed
		}
		r.at++
	}
	return "", errMalformed
}

func validText(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	return string([]rune(string(text))) // With U+FFFD for what is none.
}

// escaped reads the rest of a string from its first escape on.
func (r *jsonReader) escaped(before []byte) (string, error) {
	out := append([]byte(nil), before...)
	for r.at < len(r.text) {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '"':
			return validText(out), nil
		case c < ' ':
			return "", errMalformed
		case c != '\\':
			out = append(out, c)
			continue
		}
		var err error
		if out, err = r.escape(out); err != nil {
			return "", err
		}
	}
	return "", errMalformed
}

func (r *jsonReader) escape(out []byte) ([]byte, error) {
	if r.at >= len(r.text) {
		return nil, errMalformed
	}
	c := r.text[r.at]
	r.at++
	switch c {
	case '"', '\\', '/':
		return append(out, c), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
		return r.unicode(out)
	}
	return nil, errMalformed
}

// unicode reads what follows \u: a character, or the first half of one.
func (r *jsonReader) unicode(out []byte) ([]byte, error) {
	unit, err := r.hex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(unit) && len(r.text)-r.at >= 6 && r.text[r.at] == '\\' && r.text[r.at+1] == 'u' {
		back := r.at
		r.at += 2
		second, err := r.hex()
		if err != nil {
			return nil, err
		}
		if whole := utf16.DecodeRune(unit, second); whole != utf8.RuneError {
			return utf8.AppendRune(out, whole), nil
		}
		r.at = back
	}
	return utf8.AppendRune(out, unit), nil
}

func (r *jsonReader) hex() (rune, error) {
	if len(r.text)-r.at < 4 {
		return 0, errMalformed
	}
	unit, err := strconv.ParseUint(string(r.text[r.at:r.at+4]), 16, 16)
	if err != nil {
		return 0, errMalformed
	}
	r.at += 4
	return rune(unit), nil
}
