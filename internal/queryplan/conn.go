// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

// Conn runs statements one after the other on one session, whose client_encoding is
// UTF8 and whose time zone is UTC.
type Conn interface {
	// Query runs one statement by the extended protocol, without a name. Parameters and
	// result are in text format; nil is NULL. It gives *pgconn.PgError where the server
	// refuses the statement.
	Query(ctx context.Context, sql string, parameters [][]byte) (Result, error)
}

// Scripter is a Conn that also runs raw statements without parameters as Prisma's own
// driver does: by the simple protocol, in which one text may hold several statements.
type Scripter interface {
	// Script gives the result of the only statement; of several no fields, no rows and
	// none affected.
	Script(ctx context.Context, sql string) (Result, error)
}

// Result is what one statement gave.
type Result struct {
	Fields       []Field
	Rows         [][][]byte
	RowsAffected int64
}

// Field is a column of a result.
type Field struct {
	Name string
	OID  uint32
}
