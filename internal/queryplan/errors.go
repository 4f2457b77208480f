// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"errors"
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
}

func (e *Error) Error() string { return e.Message }

// MarshalJSON writes the error as the protocol's answers have it.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code    string `json:"code,omitempty"`
		Message string `json:"error"`
		Meta    any    `json:"meta,omitempty"`
	}{e.Code, e.Message, e.Meta})
}

// ErrorOf says in Prisma's terms what went wrong. A server's error and an Error keep
// what they say; of any other nothing is told that might name a host or a credential.
func ErrorOf(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Status: 500, Message: "internal error"}
}
