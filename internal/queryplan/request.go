// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

// Request is a decoded body of POST /query.
type Request struct {
	// Model is the model that is asked for; empty for raw queries.
	Model string
	// Operation is the client's method, such as findMany.
	Operation string

	plan    node
	params  *object
	comment string
	limits  Limits
	dialect dialect
}

// Decode reads a request's body as the version's clients write it. It gives *Error where
// the body is malformed or goes beyond the limits.
func Decode(body []byte, version Version, limits Limits) (*Request, error) {
	budget := limits.Nodes
	parsed, err := readJSON(body, limits.Depth, &budget, map[string]*shape{})
	if err != nil {
		return nil, &Error{Status: 400, Message: "Malformed request body: " + err.Error()}
	}
	decoder := decoder{version: version, dialect: dialectOf(version)}
	of := decoder.objectOf(parsed, "the body")
	request := &Request{
		Model:     decoder.optionalText(of, "model"),
		Operation: decoder.text(of, "operation"),
		params:    decoder.objectOf(of.get("params"), "params"),
		plan:      decoder.node(of.get("plan")),
		limits:    limits,
		dialect:   decoder.dialect,
	}
	if comments := of.get("comments"); !isNullish(comments) {
		request.comment = decoder.comment(decoder.objectOf(comments, "comments"))
	}
	if decoder.err != nil {
		return nil, decoder.err
	}
	return request, nil
}

// Run interprets the plan. Its result is the JSON of the answer's "data", with the keys
// in the order that the plan names them. With inTransaction the connection is in a
// transaction already, which stays open; else Run begins and ends one where the plan
// wants it. Errors are *Error, or wrap what Conn gave: ErrorOf has an answer for both.
func (r *Request) Run(ctx context.Context, conn Conn, inTransaction bool, trace *Trace) ([]byte, error) {
	x := &execution{
		conn: conn, inTransaction: inTransaction, trace: trace, comment: r.comment,
		limits: r.limits, dialect: r.dialect, work: r.limits.Work, shapes: map[string]*shape{},
	}
	data, err := x.run(ctx, r)
	if err != nil {
		err = r.dialect.translate(err, false)
		trace.fail(err)
		return nil, err
	}
	return data, nil
}
