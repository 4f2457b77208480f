// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A sink takes the messages of a statement's result, each only until it returns.
type sink interface {
	take(pgproto3.BackendMessage)
}

// exchange sends a statement and reads the answer to its end, by the extended protocol
// and without a name (PostgreSQL documentation, section Message Flow). A nil sink takes
// no result. The error is a *pgconn.PgError where the server refuses the statement.
//
// It stands in for pgconn's own reader, which waits for ever for a server that waits for
// the data of a COPY.
func (c *kept) exchange(sql string, parameters [][]byte, sink sink) error {
	c.midway = true
	front := c.conn.Frontend()
	front.SendParse(&pgproto3.Parse{Query: sql})
	front.SendBind(&pgproto3.Bind{Parameters: parameters})
	front.SendDescribe(&pgproto3.Describe{ObjectType: 'P'})
	front.SendExecute(&pgproto3.Execute{})
	front.SendSync(&pgproto3.Sync{})
	return c.answer(sink)
}

// script is exchange by the simple protocol.
func (c *kept) script(sql string, sink sink) error {
	c.midway = true
	c.conn.Frontend().SendQuery(&pgproto3.Query{String: sql})
	return c.answer(sink)
}

// answer sends what is to be sent, and reads what comes back.
func (c *kept) answer(sink sink) error {
	if err := c.conn.Frontend().Flush(); err != nil {
		if pgconn.SafeToRetry(err) {
			return errUnsent
		}
		return lost()
	}
	return c.read(sink)
}

// read reads up to ReadyForQuery. The first error is what went wrong.
func (c *kept) read(sink sink) error {
	var failure error
	for {
		message, err := c.conn.Frontend().Receive()
		if err != nil {
			return broken(err, failure)
		}
		switch message := message.(type) {
		case *pgproto3.ReadyForQuery:
			c.midway, c.transaction = false, message.TxStatus
			return failure
		case *pgproto3.ErrorResponse:
			if failure == nil {
				failure = pgconn.ErrorResponseToPgError(message)
			}
		case *pgproto3.ParameterStatus: // A setting that PgBouncer restores for the next request, too.
			c.altered = true
		case *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
			return badRequest(codeUnsupported, "COPY from or to the client does not work over HTTP")
		default:
			if sink != nil {
				sink.take(message)
			}
		}
	}
}

// broken is what to say of a connection that ended while an answer was awaited. What
// the server said last is why it ended it.
func broken(err, failure error) error {
	if failure != nil {
		return failure
	}
	if _, long := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); long {
		return err
	}
	return lost()
}

func lost() *Refusal {
	return &Refusal{
		Status: http.StatusBadGateway, Code: codeConnectionFailure,
		Message: "the connection to the pool broke while the statement ran, and whether it took effect is not known",
	}
}

// cancelInterval is how long to wait before a statement is cancelled once more: a
// cancel request that overtakes its statement, or meets it in PgBouncer's queue, is
// lost.
const cancelInterval = 500 * time.Millisecond

// interrupt cancels what runs until that is done, and makes the connection useless where
// it takes too long.
func (c *kept) interrupt(ctx context.Context, done <-chan struct{}) {
	ctx, stop := context.WithTimeout(ctx, goodbye)
	defer stop()
	_ = c.conn.Conn().SetDeadline(time.Now().Add(goodbye))
	go func() {
		defer stop()
		select {
		case <-done:
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		_ = c.conn.CancelRequest(ctx) // The next one may arrive.
		select {
		case <-ctx.Done():
		case <-time.After(cancelInterval):
		}
	}
}
