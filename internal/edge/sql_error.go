// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// statusGone is for the access log alone: the client does not wait for an answer.
const statusGone = 499

// failure is an error as the driver reads it: every field is text or null.
type failure struct {
	Message          string  `json:"message"`
	Severity         string  `json:"severity"`
	Code             string  `json:"code"`
	Detail           *string `json:"detail"`
	Hint             *string `json:"hint"`
	Position         *string `json:"position"`
	InternalPosition *string `json:"internalPosition"`
	InternalQuery    *string `json:"internalQuery"`
	Where            *string `json:"where"`
	Schema           *string `json:"schema"`
	Table            *string `json:"table"`
	Column           *string `json:"column"`
	DataType         *string `json:"dataType"`
	Constraint       *string `json:"constraint"`
	File             *string `json:"file"`
	Line             *string `json:"line"`
	Routine          *string `json:"routine"`
}

// writeError answers with an error. The driver makes a NeonDbError of status 400, and
// shows the body of any other.
func writeError(w http.ResponseWriter, err error) {
	status, after, body := explain(err)
	if status == statusGone {
		w.WriteHeader(status)
		return
	}
	w.Header()["Content-Type"] = contentType
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // Who is gone needs no answer.
}

func explain(err error) (status int, after time.Duration, body failure) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Status, refusal.RetryAfter, failure{
			Message: refusal.Message, Severity: "ERROR", Code: refusal.Code, Hint: text(refusal.Hint),
		}
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return http.StatusBadRequest, 0, fromServer(server)
	}
	if errors.Is(err, context.Canceled) {
		return statusGone, 0, failure{}
	}
	// What else there is may name what strangers should not know.
	return http.StatusInternalServerError, 0, failure{Message: "the gateway met an error of its own", Severity: "ERROR", Code: codeInternal}
}

func fromServer(e *pgconn.PgError) failure {
	return failure{
		Message: e.Message, Severity: e.Severity, Code: e.Code,
		Detail: text(e.Detail), Hint: text(e.Hint),
		Position: number(e.Position), InternalPosition: number(e.InternalPosition), InternalQuery: text(e.InternalQuery),
		Where: text(e.Where), Schema: text(e.SchemaName), Table: text(e.TableName), Column: text(e.ColumnName),
		DataType: text(e.DataTypeName), Constraint: text(e.ConstraintName),
		File: text(e.File), Line: number(e.Line), Routine: text(e.Routine),
	}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func number(n int32) *string {
	if n == 0 {
		return nil
	}
	return new(strconv.Itoa(int(n)))
}
