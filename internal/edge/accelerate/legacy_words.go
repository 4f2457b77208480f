// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// statusGone is for the access log alone: the client does not wait for an answer.
const statusGone = 499

// legacyRefusal is an answer that Prisma's client knows by its body.
type legacyRefusal struct {
	status int
	body   map[string]any
}

// Error is the body.
func (r *legacyRefusal) Error() string { return fmt.Sprint(r.body) }

// lostTransaction is that a transaction is at no replica that there is.
func lostTransaction() error {
	return &legacyRefusal{http.StatusNotFound, map[string]any{
		"is_panic": false, "error_code": "P2028", "message": "Transaction API error: Transaction not found. It has ended, or its replica of the gateway has.",
	}}
}

// RefuseLegacy answers with an error as clients of the older protocol read it: by the
// status alone, but for a few bodies (responseToError in Prisma's client). They show the
// whole body. 429 and 500 and more they try again, three times.
func RefuseLegacy(w http.ResponseWriter, err error) {
	status, after, body := legacyWords(err)
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status != statusGone {
		_ = json.NewEncoder(w).Encode(body) // Who is gone needs no answer.
	}
}

func legacyWords(err error) (status int, after time.Duration, body map[string]any) {
	if known, ok := errors.AsType[*legacyRefusal](err); ok {
		return known.status, 0, known.body
	}
	if refusal, ok := errors.AsType[*edge.Refusal](err); ok {
		body = map[string]any{"error": refusal.Message}
		if refusal.Hint != "" {
			body["hint"] = refusal.Hint
		}
		return refusal.Status, refusal.RetryAfter, body
	}
	if coded, ok := errors.AsType[*queryplan.Error](err); ok {
		return coded.Status, 0, map[string]any{"error": coded.Message}
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fromPooler(server)
	}
	if errors.Is(err, context.Canceled) {
		return statusGone, 0, nil
	}
	// What else there is may name what strangers should not know.
	return http.StatusServiceUnavailable, time.Second, map[string]any{"error": "the gateway has nobody to run queries now"}
}

// fromPooler is why there is no login.
func fromPooler(e *pgconn.PgError) (status int, after time.Duration, body map[string]any) {
	if strings.HasPrefix(e.Code, "28") { // Class 28: Invalid Authorization Specification.
		return http.StatusUnauthorized, 0, map[string]any{"error": "the pool does not take the API key; it may have been replaced"}
	}
	return http.StatusServiceUnavailable, time.Second, map[string]any{"error": e.Message, "code": e.Code}
}

func (l *Legacy) requestTooLarge() error {
	return &edge.Refusal{
		Status:  http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("the request has more than %d bytes, as many as the gateway takes", l.Limits.RequestBytes),
		Hint:    "Send it in parts, or raise the gateway's --max-request-bytes.",
	}
}

func (l *Legacy) resultTooLarge() error {
	return &edge.Refusal{
		Status:  http.StatusUnprocessableEntity,
		Message: fmt.Sprintf("the result has more than %d bytes, as many as the gateway returns", l.Limits.ResultBytes),
		Hint:    "Ask for less with take, or raise the gateway's --max-result-bytes.",
	}
}

func (l *Legacy) tooSlow() error {
	return &edge.Refusal{
		Status:  http.StatusGatewayTimeout,
		Message: fmt.Sprintf("the request took longer than %v", l.Limits.Timeout),
		Hint:    "Make it faster, or raise the gateway's --request-timeout.",
	}
}
