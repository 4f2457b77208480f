// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// connectionInfo is what a client asks for before its first query: what it may put into
// plans.
func (h *Handler) connectionInfo(ctx context.Context, v *visit) error {
	conn, err := h.login(ctx, v)
	if err != nil {
		return err
	}
	conn.Release(ctx)
	if v.Header.Get(versionHeader) != "" { // It says early what a query would find out.
		if _, err := readVersion(v.Header); err != nil {
			return err
		}
	}
	v.object = []byte(`{"provider":"postgres","connectionInfo":{"supportsRelationJoins":true}}`)
	return nil
}

// query runs a plan on a connection of its own.
func (h *Handler) query(ctx context.Context, v *visit) error {
	conn, err := h.login(ctx, v) // Before any of the body: a stranger is turned away.
	if err != nil {
		return err
	}
	defer conn.Release(ctx)
	request, err := h.decode(v)
	if err != nil {
		return err
	}
	data, err := h.run(ctx, v, conn, request, false)
	if err != nil {
		return err
	}
	v.object = dataOf(data)
	return nil
}

// decode reads a plan.
func (h *Handler) decode(v *visit) (*queryplan.Request, error) {
	version, err := readVersion(v.Header)
	if err != nil {
		return nil, err
	}
	body, err := h.readBody(v)
	if err != nil {
		return nil, err
	}
	return queryplan.Decode(body, version, h.planLimits())
}

func (h *Handler) planLimits() queryplan.Limits {
	limits := queryplan.DefaultLimits
	limits.ResultBytes = h.Limits.ResultBytes
	return limits
}

// run interprets a plan. Where the context ends the error says why.
func (h *Handler) run(ctx context.Context, v *visit, conn *edge.Conn, request *queryplan.Request, inTransaction bool) ([]byte, error) {
	statements := &statements{conn: conn, left: rowsPerResult * h.Limits.ResultBytes}
	data, err := request.Run(ctx, statements, inTransaction, v.trace)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause
	}
	return data, err
}

func dataOf(data []byte) []byte {
	object := make([]byte, 0, len(data)+len(`{"data":}`))
	return append(append(append(object, `{"data":`...), data...), '}')
}

// statements runs those of one plan.
type statements struct {
	conn *edge.Conn
	// left is how many bytes their results may still take.
	left int
}

// rowsPerResult is how many bytes rows may take for each byte that the answer may have:
// a number of one digit takes 25, and in JSON with its name some ten.
const rowsPerResult = 4

// Query runs a statement.
func (s *statements) Query(ctx context.Context, sql string, parameters [][]byte) (queryplan.Result, error) {
	rows, err := s.conn.Query(ctx, sql, parameters, s.left)
	if err != nil {
		return queryplan.Result{}, err
	}
	s.left -= rows.Bytes
	fields := make([]queryplan.Field, len(rows.Columns))
	for i, column := range rows.Columns {
		fields[i] = queryplan.Field(column)
	}
	return queryplan.Result{Fields: fields, Rows: rows.Values, RowsAffected: rows.Affected}, nil
}
