// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// session reads whom a request is for. The host names the pool, and the key has to be
// that pool's; whether the pool takes it, a login tells.
func (h *Handler) session(r *http.Request) (Session, error) {
	pool, err := h.Directory.Find(r.Host)
	if err != nil {
		return Session{}, err
	}
	edge.Found(r.Context(), pool)
	key, err := readKey(r.Header)
	switch {
	case err != nil:
		return Session{}, badKey(err.Error())
	case key.Namespace != pool.Namespace || key.Pool != pool.Name:
		return Session{}, badKey("it is another pool's than the one that the URL's host names")
	}
	login := edge.Login{User: key.User, Password: key.Password, Database: key.Database, Parameters: parameters}
	return Session{Pool: pool, Login: login, Caller: edge.CallerOf(r)}, nil
}

// parameters are what an interpreter of plans expects of a session. Nobody writes to them.
var parameters = map[string]string{"client_encoding": "UTF8", "TimeZone": "UTC"}

func readKey(header http.Header) (apikey.Key, error) {
	scheme, text, _ := strings.Cut(header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return apikey.Key{}, errors.New("the request has none")
	}
	return apikey.Parse(text)
}

// login takes a connection that is logged in with the key, which proves it.
func (h *Handler) login(ctx context.Context, s Session) (*edge.Conn, error) {
	if err := s.Pool.Ready(); err != nil {
		return nil, err
	}
	conn, err := h.Connections.Take(ctx, s.Pool, s.Caller, s.Login)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(refused.Code, invalidAuthorization) {
		return nil, badKey("the pool does not take it; it may have been replaced")
	}
	return conn, err
}

// invalidAuthorization is a class of SQLSTATEs (PostgreSQL documentation, Appendix A).
const invalidAuthorization = "28"

func badKey(reason string) *queryplan.Error {
	return &queryplan.Error{Status: http.StatusUnauthorized, Code: codeUnauthorized, Message: "The provided API Key is invalid. Reason: " + reason}
}
