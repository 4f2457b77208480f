// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
)

// statement is one of the body's. Its parameters are in PostgreSQL's text format.
type statement struct {
	Query     *string     `json:"query"`
	Params    []parameter `json:"params"`
	ArrayMode *bool       `json:"arrayMode"`

	parameters [][]byte
}

// readStatements reads a body: a single statement, or those of a batch. The error is a
// *Refusal.
func readStatements(body []byte) (statements []statement, batch bool, err error) {
	var request struct {
		statement
		Queries []statement `json:"queries"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, false, badBody(err)
	}
	statements, batch = request.Queries, request.Queries != nil
	if !batch {
		statements = []statement{request.statement}
	}
	for i := range statements {
		if err := statements[i].check(); err != nil {
			return nil, batch, err
		}
	}
	return statements, batch, nil
}

func (s *statement) check() error {
	switch {
	case s.Query == nil:
		return badRequest(codeProtocolViolation, "the body has no query")
	case strings.IndexByte(*s.Query, 0) >= 0: // It would end the query early, and what follows be taken for something else.
		return badRequest(codeEncoding, "the query has a zero byte")
	case len(s.Params) > math.MaxUint16:
		return tooManyParameters(len(s.Params))
	}
	s.parameters = make([][]byte, len(s.Params))
	for i := range s.Params {
		s.parameters[i] = s.Params[i].text
	}
	return nil
}

// badBody says what is wrong without repeating the body.
func badBody(err error) *Refusal {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		name := strings.TrimPrefix(wrong.Field, "statement.") // A single statement stands in the body itself.
		return badRequest(codeProtocolViolation, fmt.Sprintf("the body's %q is a JSON %s, which it can not be", cmp.Or(name, "whole"), wrong.Value))
	}
	return badRequest(codeProtocolViolation, "the body is not JSON: "+err.Error())
}

func badRequest(code, message string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: code, Message: message}
}

// parameter is a JSON value as PostgreSQL's text format has it; nil is NULL.
type parameter struct{ text []byte }

// UnmarshalJSON takes strings as they are, arrays as PostgreSQL's arrays, and all else
// as JSON: PostgreSQL reads numbers, booleans and objects from it.
func (p *parameter) UnmarshalJSON(raw []byte) (err error) {
	switch raw[0] { // The decoder leaves no space around it.
	case 'n':
		p.text = nil
	case '"':
		p.text, err = unquoted(raw)
	case '[':
		p.text, err = appendArrayLiteral(nil, raw, 1)
	default:
		p.text = bytes.Clone(raw)
	}
	return err
}

func unquoted(raw []byte) ([]byte, error) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return append(make([]byte, 0, len(inner)), inner...), nil // Not nil, which is NULL.
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return []byte(s), err
}

// maxDimensions is PostgreSQL's (MAXDIM).
const maxDimensions = 6

// appendArrayLiteral writes a JSON array as PostgreSQL reads one (PostgreSQL
// documentation, section Arrays, Array Input and Output Syntax).
func appendArrayLiteral(out, raw []byte, depth int) ([]byte, error) {
	if depth > maxDimensions {
		return nil, badRequest(codeLimit, fmt.Sprintf("a parameter is an array of more than %d dimensions", maxDimensions))
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, err
	}
	out = append(out, '{')
	for i, element := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendElement(out, element, depth); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendElement(out, element []byte, depth int) ([]byte, error) {
	switch element[0] {
	case 'n':
		return append(out, "NULL"...), nil
	case '[':
		return appendArrayLiteral(out, element, depth+1)
	case '{':
		return appendQuoted(out, element), nil
	case '"':
		s, err := unquoted(element)
		return appendQuoted(out, s), err
	}
	return append(out, element...), nil
}

// appendQuoted quotes as PostgreSQL does: a backslash stands for what follows it, so
// JSON's own escapes would mean something else.
func appendQuoted(out, text []byte) []byte {
	out = append(out, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"')
}
