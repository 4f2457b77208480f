// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pauseAnswer is how long an answer to PAUSE is waited for. PgBouncer gives a good
// one only when the last transaction has ended.
const pauseAnswer = 100 * time.Millisecond

// PauseAll holds every client at its next transaction, also those of databases that
// are added later. It does not wait for transactions to end, and PgBouncer goes on
// pausing without the session that asked: Sample.Paused and the connections that are
// left tell. PAUSE of each database by itself would not do: a client that logs in
// still has PgBouncer log in at the server then. Source: finish_client_login in
// PgBouncer's objects.c.
func (a Admin) PauseAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, DefaultAdminTimeout))
	defer cancel()
	conn, err := a.connect(ctx)
	if err != nil {
		return fmt.Errorf("connecting to PgBouncer's console: %w", err)
	}
	return pauseAll(conn)
}

// pauseAll uses the session up: pgconn sends a cancel request when it gives up, and
// PgBouncer takes that for RESUME.
func pauseAll(conn *pgconn.PgConn) error {
	raw, err := conn.Hijack()
	if err != nil {
		return fmt.Errorf("running PAUSE in PgBouncer's console: %w", err)
	}
	defer func() { _ = raw.Conn.Close() }()
	if err := sendPause(raw); err != nil {
		return fmt.Errorf("running PAUSE in PgBouncer's console: %w", err)
	}
	return nil
}

func sendPause(raw *pgconn.HijackedConn) error {
	if err := raw.Conn.SetDeadline(time.Now().Add(pauseAnswer)); err != nil {
		return err
	}
	raw.Frontend.Send(&pgproto3.Query{String: "PAUSE"})
	if err := raw.Frontend.Flush(); err != nil {
		return err
	}
	for {
		message, err := raw.Frontend.Receive()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
		switch message := message.(type) {
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(message)
		case *pgproto3.ReadyForQuery:
			return nil
		}
	}
}

// ResumeAll ends PauseAll.
func (a Admin) ResumeAll(ctx context.Context) error { return a.command(ctx, "RESUME") }

// isPaused reads SHOW STATE.
func isPaused(rows []Row) bool {
	for _, row := range rows {
		if row["key"] == "paused" {
			return row["value"] == "yes"
		}
	}
	return false
}
