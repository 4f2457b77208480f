// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// sentries of a PgBouncer are clients to it, and take no place from the pool's.
const sentries = 1

// Sentry is a session of the console that stands ready: to connect would take as long as
// the login does that it is to come before. Its zero value has none. Its methods are for
// one goroutine.
type Sentry struct {
	conn *pgconn.PgConn
}

// Stand connects to the console, unless it has.
func (s *Sentry) Stand(ctx context.Context, a Admin) error {
	if s.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, DefaultAdminTimeout))
	defer cancel()
	conn, err := a.connect(ctx)
	if err != nil {
		return fmt.Errorf("connecting to PgBouncer's console: %w", err)
	}
	s.conn = conn
	return nil
}

// Leave ends the session.
func (s *Sentry) Leave(ctx context.Context) {
	if s.conn != nil {
		_ = s.conn.Close(ctx)
		s.conn = nil
	}
}

// PauseUnlessConnected does what PauseAll does if there is no server connection that can
// be used, and returns those that there are.
func (s *Sentry) PauseUnlessConnected(ctx context.Context, a Admin) (servers []ServerState, paused bool, err error) {
	stood := s.conn != nil
	servers, paused, err = s.pauseUnlessConnected(ctx, a)
	if err != nil && stood { // It may be of a PgBouncer that has ended since.
		return s.pauseUnlessConnected(ctx, a)
	}
	return servers, paused, err
}

func (s *Sentry) pauseUnlessConnected(ctx context.Context, a Admin) (servers []ServerState, paused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, DefaultAdminTimeout))
	defer cancel()
	if err := s.Stand(ctx, a); err != nil {
		return nil, false, err
	}
	results, err := s.conn.Exec(ctx, "SHOW SERVERS").ReadAll()
	if err == nil {
		servers, err = serverStates(rowsOf(results))
	}
	if err != nil {
		s.Leave(ctx)
		return nil, false, fmt.Errorf("running SHOW SERVERS in PgBouncer's console: %w", err)
	}
	if slices.ContainsFunc(servers, func(server ServerState) bool { return !server.Login }) {
		return servers, false, nil
	}
	conn := s.conn
	s.conn = nil
	return servers, true, pauseAll(conn)
}
