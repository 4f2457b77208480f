// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// authenticated has PgBouncer's ways to say that a user or a password is wrong in
// PostgreSQL's one, in which drivers look for it. It tells nobody which of them it is.
// Source: PgBouncer, messages of its client authentication.
func authenticated(err error, user string) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch message := refused.Message; {
	case message == "SASL authentication failed", message == "password authentication failed", message == "no such user", message == "login rejected",
		message == "no authentication method is found", strings.HasPrefix(message, "no such user: "), strings.HasPrefix(message, "SCRAM authentication failed"):
		return wrongLogin{&pgconn.PgError{
			Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: codeInvalidPassword,
			Message: fmt.Sprintf("password authentication failed for user %q", user),
		}}
	}
	return refused
}

// wrongLogin is that the pooler does not take a user or a password. A server that does
// not take the pooler's uses the same words and the same code.
type wrongLogin struct{ *pgconn.PgError }

func (w wrongLogin) Unwrap() error { return w.PgError }

func wrongPassword(err error) bool {
	var wrong wrongLogin
	return errors.As(err, &wrong)
}

// explain says why there is no connection, and nothing of what stands behind the pool.
func (d *Door) explain(ctx context.Context, pool Pool, err error) error {
	var refusal *Refusal
	var refused *pgconn.PgError
	var wrong wrongLogin
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &wrong):
		return wrong.PgError
	case errors.As(err, &refused):
		return inTheirWords(pool, refused)
	case ctx.Err() != nil:
		return &Refusal{Status: statusGone, Code: codeCanceled, Message: "the client has gone"}
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return &Refusal{
			Status: http.StatusGatewayTimeout, Code: codeConnectionFailure, RetryAfter: time.Second,
			Message: fmt.Sprintf("logging in to pool %s took longer than %v", pool.Label, d.Timeout),
		}
	}
	if d.Log != nil {
		d.Log.Warn("a pool can not be reached", "pool", pool.String(), "error", withoutUser(err).Error())
	}
	return &Refusal{
		Status: http.StatusServiceUnavailable, Code: codeConnectionFailure, RetryAfter: time.Second,
		Message: fmt.Sprintf("pool %s can not be reached", pool.Label),
	}
}

// withoutUser leaves out the user and the database, which are the client's own words.
func withoutUser(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && connect.Unwrap() != nil {
		return connect.Unwrap()
	}
	return err
}

// inTheirWords turns a pooler's word that it has no room now into a refusal that asks for
// another try, and gives its word that there is no such database PostgreSQL's code. All
// other errors stay as the pooler has them.
func inTheirWords(pool Pool, refused *pgconn.PgError) error {
	unavailable := func(status int, code, words string) error {
		return &Refusal{Status: status, Code: code, RetryAfter: time.Second, Message: fmt.Sprintf("pool %s %s", pool.Label, words)}
	}
	switch message := refused.Message; {
	case strings.HasPrefix(message, "no such database"):
		return &pgconn.PgError{Severity: refused.Severity, SeverityUnlocalized: refused.SeverityUnlocalized, Code: codeUnknownDatabase, Message: message}
	case strings.HasPrefix(message, "client_login_timeout"), strings.HasPrefix(message, "query_wait_timeout"):
		return unavailable(http.StatusGatewayTimeout, codeNotNow, "has had no server connection for a login")
	case message == "pooler is shutting down", message == "server shutting down":
		return unavailable(http.StatusServiceUnavailable, codeNotNow, "has a pooler that is going away")
	case strings.HasPrefix(message, "server login has been failing"), strings.HasPrefix(message, "server login failed"), refused.Code == codeInvalidPassword:
		return unavailable(http.StatusServiceUnavailable, codeConnectionFailure, "has a server that does not take its poolers' logins")
	case strings.HasPrefix(message, "no more connections allowed"):
		return unavailable(http.StatusServiceUnavailable, codeTooMany, "has as many clients as it may")
	}
	return refused
}
