// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"
)

// result writes a statement's result as the driver reads it.
type result struct {
	out        []byte
	raw, array bool
	// full is called once, when out has more than limit bytes. No row is added then.
	limit int
	full  func()
	over  bool

	described bool
	rows      int
	kinds     []kind
	names     [][]byte // As JSON, with the colon; for rows that are objects.
}

// take takes a message of an answer.
func (r *result) take(message pgproto3.BackendMessage) {
	switch message := message.(type) {
	case *pgproto3.RowDescription:
		r.describe(message.Fields)
	case *pgproto3.DataRow:
		r.row(message.Values)
	case *pgproto3.CommandComplete:
		r.complete(message.CommandTag)
	case *pgproto3.EmptyQueryResponse:
		r.complete(nil)
	}
}

func (r *result) describe(fields []pgproto3.FieldDescription) {
	r.described = true
	r.out = append(r.out, `{"fields":[`...)
	for i := range fields {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.field(&fields[i])
	}
	r.out = append(r.out, `],"rows":[`...)
}

func (r *result) field(f *pgproto3.FieldDescription) {
	r.out = append(r.out, `{"name":`...)
	r.out = appendString(r.out, f.Name)
	r.out = append(r.out, `,"dataTypeID":`...)
	r.out = strconv.AppendUint(r.out, uint64(f.DataTypeOID), 10)
	r.out = append(r.out, `,"tableID":`...)
	r.out = strconv.AppendUint(r.out, uint64(f.TableOID), 10)
	r.out = append(r.out, `,"columnID":`...)
	r.out = strconv.AppendUint(r.out, uint64(f.TableAttributeNumber), 10)
	r.out = append(r.out, `,"dataTypeSize":`...)
	r.out = strconv.AppendInt(r.out, int64(f.DataTypeSize), 10)
	r.out = append(r.out, `,"dataTypeModifier":`...)
	r.out = strconv.AppendInt(r.out, int64(f.TypeModifier), 10)
	r.out = append(r.out, `,"format":"text"}`...)
	if !r.raw {
		r.kinds = append(r.kinds, kindOf(f.DataTypeOID))
	}
	if !r.array {
		r.names = append(r.names, append(appendString(nil, f.Name), ':'))
	}
}

func (r *result) row(values [][]byte) {
	if r.over {
		return
	}
	if r.rows++; r.rows > 1 {
		r.out = append(r.out, ',')
	}
	opening, closing := byte('{'), byte('}')
	if r.array {
		opening, closing = '[', ']'
	}
	r.out = append(r.out, opening)
	for i, value := range values {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if !r.array {
			r.out = append(r.out, r.names[i]...)
		}
		r.value(i, value)
	}
	r.out = append(r.out, closing)
	r.check()
}

func (r *result) value(column int, value []byte) {
	switch {
	case value == nil:
		r.out = append(r.out, "null"...)
	case r.raw:
		r.out = appendString(r.out, value)
	default:
		r.out = r.kinds[column].append(r.out, value)
	}
}

func (r *result) complete(tag []byte) {
	if !r.described {
		r.describe(nil)
	}
	command, rest, _ := bytes.Cut(tag, []byte{' '})
	if string(command) == "INSERT" { // Its tag has an object identifier first, always 0.
		_, rest, _ = bytes.Cut(rest, []byte{' '})
	}
	count, _, _ := bytes.Cut(rest, []byte{' '})
	r.out = append(r.out, `],"command":`...)
	r.out = appendString(r.out, command)
	r.out = append(r.out, `,"rowCount":`...)
	if _, err := strconv.ParseUint(string(count), 10, 64); err == nil {
		r.out = append(r.out, count...)
	} else {
		r.out = append(r.out, "null"...)
	}
	r.out = append(r.out, `,"rowAsArray":`...)
	r.out = append(strconv.AppendBool(r.out, r.array), '}')
	r.check()
}

func (r *result) check() {
	if len(r.out) > r.limit && !r.over {
		r.over = true
		r.full()
	}
}
