// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgproto3"
)

// run is what one request has under way.
type run struct {
	http *HTTP
	form form
	conn *Conn
	// end ends the request's context, with the cause.
	end context.CancelCauseFunc

	out []byte
}

// request reads the body and runs what it says.
func (r *run) request(ctx context.Context, body func() ([]byte, error)) error {
	data, err := body()
	if err != nil {
		return err
	}
	statements, batch, err := readStatements(data)
	if err != nil {
		return err
	}
	begun := len(r.out)
	return r.conn.do(ctx, r.http.Limits.ResultBytes, func(k *kept) error {
		r.out = r.out[:begun] // It may have been tried on another connection.
		if batch {
			return r.batch(ctx, k, statements)
		}
		return r.statement(k, statements[0])
	})
}

// statement runs one, and adds its result.
func (r *run) statement(k *kept, s statement) error {
	result := &result{out: r.out, raw: r.form.raw, array: r.form.array}
	if s.ArrayMode != nil {
		result.array = *s.ArrayMode
	}
	result.limit, result.full = r.http.Limits.ResultBytes, func() { r.end(r.http.resultTooLarge()) }
	err := k.exchange(*s.Query, s.parameters, result)
	r.out = result.out
	_, long := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err)
	if long || err == nil && result.over {
		return r.http.resultTooLarge()
	}
	return err
}
