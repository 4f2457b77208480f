// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"net/http"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// connectionInfo is what a client asks for before its first query: what it may put into
// plans.
func (h *Handler) connectionInfo(ctx context.Context, v *visit) error {
	conn, err := h.login(ctx, v.Session)
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

// query runs a plan on a connection of its own, or finds its result in the cache.
func (h *Handler) query(ctx context.Context, v *visit) error {
	conn, err := h.login(ctx, v.Session) // Before any of the body: a stranger is turned away.
	if err != nil {
		return err
	}
	defer conn.Release(ctx)
	request, err := h.decode(v)
	if err != nil {
		return err
	}
	policy, err := cache.ReadPolicy(v.Header)
	if err != nil {
		return err
	}
	if h.Cache == nil || !policy.Caches() || !reads(request.Operation) {
		cache.Answer{Status: cache.None, At: time.Now()}.SetHeader(v.w.Header())
		return h.run(ctx, v, conn, request, false)
	}
	conn.Release(ctx) // The key is right. What is fetched may be for others, too.
	return h.cached(ctx, v, request, policy)
}

// reads is whether an operation of Prisma's client changes nothing.
func reads(operation string) bool {
	switch operation {
	case "findUnique", "findUniqueOrThrow", "findFirst", "findFirstOrThrow", "findMany", "aggregate", "groupBy", "count":
		return true
	}
	return false
}

// cached answers with what the cache has, or runs the plan for it.
func (h *Handler) cached(ctx context.Context, v *visit, request *queryplan.Request, policy cache.Policy) error {
	session := v.Session
	digest := cache.DigestOf([]byte(v.Header.Get(versionHeader)), v.read)
	answer, err := h.Cache.Get(ctx, h.scope(session), digest, policy, func(ctx context.Context) ([]byte, error) {
		conn, err := h.login(ctx, session)
		if err != nil {
			return nil, err
		}
		defer conn.Release(ctx)
		return request.Run(ctx, h.statements(conn), false, nil)
	})
	if err != nil {
		return err
	}
	answer.SetHeader(v.w.Header())
	v.object = dataOf(answer.Body)
	return nil
}

func (h *Handler) scope(s Session) cache.Scope {
	return h.Cache.ScopeOf(s.Pool.Namespace, s.Pool.Name, s.Login.User, s.Login.Password, s.Login.Database)
}

// invalidate forgets results of the caller's key.
func (h *Handler) invalidate(ctx context.Context, v *visit) error {
	conn, err := h.login(ctx, v.Session)
	if err != nil {
		return err
	}
	conn.Release(ctx)
	body, err := h.readBody(v)
	if err != nil {
		return err
	}
	what, err := cache.ReadInvalidation(body)
	if err != nil {
		return err
	}
	if h.Cache != nil {
		h.Cache.Invalidate(h.scope(v.Session), what)
	}
	if h.Replicas != nil {
		if err := h.Replicas.Broadcast(v.Request, body); err != nil {
			return &queryplan.Error{Status: http.StatusServiceUnavailable, Code: codeServer, Message: "not every replica of the gateway has forgotten its results: try again"}
		}
	}
	v.object = []byte(`{}`)
	return nil
}

// decode reads a plan.
func (h *Handler) decode(v *visit) (*queryplan.Request, error) {
	version, err := readVersion(v.Header)
	if err != nil {
		return nil, err
	}
	if v.read, err = h.readBody(v); err != nil {
		return nil, err
	}
	return queryplan.Decode(v.read, version, h.planLimits())
}

func (h *Handler) planLimits() queryplan.Limits {
	limits := queryplan.DefaultLimits
	limits.ResultBytes = h.Limits.ResultBytes
	return limits
}

// run interprets a plan and answers with its result. Where the context ends the error
// says why.
func (h *Handler) run(ctx context.Context, v *visit, conn *edge.Conn, request *queryplan.Request, inTransaction bool) error {
	data, err := request.Run(ctx, h.statements(conn), inTransaction, v.trace)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	if err == nil {
		v.object = dataOf(data)
	}
	return err
}

func dataOf(data []byte) []byte {
	object := make([]byte, 0, len(data)+len(`{"data":}`))
	return append(append(append(object, `{"data":`...), data...), '}')
}

func (h *Handler) statements(conn *edge.Conn) *statements {
	return &statements{conn: conn, left: rowsPerResult * h.Limits.ResultBytes}
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
	return s.result(s.conn.Query(ctx, sql, parameters, s.left))
}

// Script runs what may be several.
func (s *statements) Script(ctx context.Context, sql string) (queryplan.Result, error) {
	return s.result(s.conn.Script(ctx, sql, s.left))
}

func (s *statements) result(rows edge.Rows, err error) (queryplan.Result, error) {
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
