// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Error is one in Prisma's terms, as clients read it.
type Error struct {
	// Status is the answer's HTTP status.
	Status int
	// Code is Prisma's, such as P2002; empty where it has none.
	Code    string
	Message string
	// Meta is what the code's errors carry; nil is none.
	Meta any

	cause error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.cause }

// MarshalJSON writes the error as the protocol's answers have it.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code    string `json:"code,omitempty"`
		Message string `json:"error"`
		Meta    any    `json:"meta,omitempty"`
	}{e.Code, e.Message, e.Meta})
}

// MarshalJSON writes the record, as errors carry them.
func (o *object) MarshalJSON() ([]byte, error) {
	writer := jsonWriter{depth: DefaultLimits.Depth, limit: DefaultLimits.ResultBytes, leaf: plainLeaf}
	err := writer.write(o)
	return writer.out, err
}

// failure is a plan that cannot be run, told as it is.
func failure(format string, args ...any) *Error {
	return &Error{Status: 500, Message: fmt.Sprintf(format, args...)}
}

// What goes beyond the limits.
var (
	errTooMuchWork       = &Error{Status: 422, Message: "Query plan takes too much work"}
	errTooManyStatements = &Error{Status: 422, Message: "Query plan runs too many statements"}
	errTooManyRows       = &Error{Status: 422, Message: "Query plan reads too many rows"}
	errTooLarge          = &Error{Status: 422, Code: "P6009", Message: "Response size limit exceeded"}
	errNested            = &Error{Status: 422, Message: "Result nested too deeply"}
)

func isLimit(err error) bool {
	known, ok := errors.AsType[*Error](err)
	return ok && known.Status == 422
}

func errTooManyParameters() *Error {
	return &Error{Status: 400, Code: "P2029", Message: "The query parameter limit supported by your database is exceeded.", Meta: struct{}{}}
}

// ErrorOf says in Prisma's terms what went wrong, as the newest version does. A server's
// error and an Error keep what they say; of any other nothing is told that might name a
// host or a credential.
func ErrorOf(err error) *Error { return newest().ErrorOf(err) }

func newest() Version { all := Supported(); return all[len(all)-1] }

// ErrorOf is ErrorOf as the version has it.
func (v Version) ErrorOf(err error) *Error { return dialectOf(v).translate(err, false) }

// translate says an error in Prisma's terms. Those of raw statements keep the server's
// code and message.
func (d dialect) translate(err error, raw bool) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	cause := causeOf(err, d)
	if cause == nil {
		return &Error{Status: statusOf(err), Message: wordsOf(err), cause: err}
	}
	told := d.tell(cause, raw)
	told.cause = err
	return told
}

// causeOf is the error as Prisma's driver has it; nil where it knows none.
func causeOf(err error, d dialect) *driverCause {
	if known, ok := errors.AsType[*driverCause](err); ok {
		return known
	}
	if known, ok := errors.AsType[*pgconn.PgError](err); ok {
		return d.serverCause(known)
	}
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return kindOf("DatabaseNotReachable")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), isNet:
		return kindOf("ConnectionClosed")
	}
	return nil
}

func statusOf(err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return 422
	}
	return 500
}

func wordsOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "Query timeout exceeded"
	case errors.Is(err, context.Canceled):
		return "Query was cancelled"
	}
	return "Internal error"
}
