// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"errors"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// ending is how a session ends: with words in PostgreSQL's terms where there is
// something to say, and the WebSocket's close status.
type ending struct {
	status   websocket.StatusCode
	response *pgproto3.ErrorResponse
}

// Error is what the client is told.
func (e *ending) Error() string { return e.response.Message }

// errGone is that of a client which can be told nothing any more.
var errGone = errors.New("the client has gone")

// gone ends a session whose client has gone.
var gone = &ending{}

func fatal(code, message string) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message}
}

func shutdown() *ending {
	return &ending{
		status:   websocket.StatusGoingAway,
		response: fatal(codeShutdown, "terminating connection, for the gateway is shutting down"),
	}
}

// endingOf says how an error ends a session.
func endingOf(err error) *ending {
	if err == nil {
		return &ending{status: websocket.StatusNormalClosure}
	}
	if known, ok := errors.AsType[*ending](err); ok {
		return known
	}
	if errors.Is(err, errGone) {
		return gone
	}
	return &ending{status: websocket.StatusNormalClosure, response: responseOf(err)}
}

// responseOf is what a client is told of an error that kept it from the pool.
func responseOf(err error) *pgproto3.ErrorResponse {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		response := fatal(refusal.Code, refusal.Message)
		response.Hint = refusal.Hint
		return response
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		response := fatal(refused.Code, refused.Message)
		response.Detail, response.Hint = refused.Detail, refused.Hint
		return response
	}
	return fatal(codeConnectionFailure, "the pool can not be reached")
}

// late turns a timeout of the handshake into words.
func late(err error, limit time.Duration) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return &ending{
		status:   websocket.StatusNormalClosure,
		response: fatal(codeCanceled, "the client sent no startup packet and password within "+limit.String()),
	}
}
