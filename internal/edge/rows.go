// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Rows are a statement's result.
type Rows struct {
	Columns []Column
	// Values are in text format; nil is NULL.
	Values [][][]byte
	// Bytes is how much of the limit they took.
	Bytes int
	// Affected is how many rows the statement returned or changed.
	Affected int64
}

// Column is of a result. OID is its type's (PostgreSQL documentation, section Object
// Identifier Types).
type Column struct {
	Name string
	OID  uint32
}

// rowsSink copies a result out of the connection's buffer.
type rowsSink struct {
	rows Rows
	// statements is how many there were.
	statements int
	// left is how many bytes there may still be; full is called once, when there are more.
	left int
	full func()
	// bytes and values are room that was allocated for several rows at once.
	bytes  []byte
	values [][]byte
}

// roomBytes and roomValues are how much is allocated at once, at most.
const (
	roomBytes  = 32 << 10
	roomValues = 1 << 10
)

// valueOverhead is what a value takes besides its text, in bytes.
const valueOverhead = 24

func (s *rowsSink) take(message pgproto3.BackendMessage) {
	switch message := message.(type) {
	case *pgproto3.RowDescription:
		s.describe(message.Fields)
	case *pgproto3.DataRow:
		s.row(message.Values)
	case *pgproto3.CommandComplete:
		s.statements++
		s.rows.Affected = pgconn.NewCommandTag(string(message.CommandTag)).RowsAffected()
	}
}

func (s *rowsSink) describe(fields []pgproto3.FieldDescription) {
	s.rows.Columns = make([]Column, len(fields))
	for i, field := range fields {
		s.rows.Columns[i] = Column{Name: string(field.Name), OID: field.DataTypeOID}
	}
}

func (s *rowsSink) row(values [][]byte) {
	if s.left < 0 {
		return
	}
	size := 0
	for _, value := range values {
		size += len(value)
	}
	took := size + len(values)*valueOverhead
	s.rows.Bytes += took
	if s.left -= took; s.left < 0 {
		s.full()
		return
	}
	if cap(s.bytes)-len(s.bytes) < size {
		s.bytes = make([]byte, 0, max(size, min(2*cap(s.bytes), roomBytes)))
	}
	if cap(s.values)-len(s.values) < len(values) {
		s.values = make([][]byte, 0, max(len(values), min(2*cap(s.values), roomValues)))
	}
	begun := len(s.values)
	for _, value := range values {
		s.values = append(s.values, s.copy(value))
	}
	s.rows.Values = append(s.rows.Values, s.values[begun:len(s.values):len(s.values)])
}

func (s *rowsSink) copy(value []byte) []byte {
	if value == nil {
		return nil
	}
	begun := len(s.bytes)
	s.bytes = append(s.bytes, value...)
	return s.bytes[begun:len(s.bytes):len(s.bytes)]
}
