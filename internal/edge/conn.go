// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Conn is a connection to a pooler that one request has to itself. It is not safe for
// concurrent use.
type Conn struct {
	from   *Connections
	key    loginKey
	pool   Pool
	caller netip.Addr
	login  Login

	on      *kept // nil once it is released, or where none could be had.
	checked bool  // It was still connected when it was first used.
}

// errUnsent is that a kept connection was closed before a byte of a statement left.
var errUnsent = errors.New("the connection was closed before the statement was sent")

// ErrResultTooLarge is that a statement's result has more bytes than it may.
var ErrResultTooLarge = errors.New("the result has too many bytes")

// Query runs one statement by the extended protocol, without a name. Parameters and
// values are in text format, and nil is NULL. A result may have so many bytes.
//
// The end of the context cancels the statement at the server; the error is then why it
// ended. It is a *pgconn.PgError where the server refuses the statement, ErrResultTooLarge,
// or a *Refusal where the connection broke.
func (c *Conn) Query(ctx context.Context, sql string, parameters [][]byte, maxBytes int) (Rows, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return Rows{}, zeroByte()
	}
	if len(parameters) > math.MaxUint16 {
		return Rows{}, tooManyParameters(len(parameters))
	}
	return c.rows(ctx, maxBytes, func(k *kept, sink sink) error { return k.exchange(sql, parameters, sink) })
}

// Script runs a text by the simple protocol, in which it may hold several statements:
// without a BEGIN they are one transaction (PostgreSQL documentation, section Message
// Flow, Simple Query). The result is that of the only statement, and empty where there
// are several. All else is as with Query.
func (c *Conn) Script(ctx context.Context, sql string, maxBytes int) (Rows, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return Rows{}, zeroByte()
	}
	return c.rows(ctx, maxBytes, func(k *kept, sink sink) error { return k.script(sql, sink) })
}

func (c *Conn) rows(ctx context.Context, maxBytes int, exchange func(*kept, sink) error) (Rows, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var sink rowsSink
	err := c.do(ctx, maxBytes, func(k *kept) error {
		sink = rowsSink{left: maxBytes, full: func() { end(ErrResultTooLarge) }}
		return exchange(k, &sink)
	})
	_, long := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err)
	switch {
	case long, err == nil && sink.left < 0:
		return Rows{}, ErrResultTooLarge
	case err != nil:
		return Rows{}, err
	case sink.statements > 1:
		return Rows{Bytes: sink.rows.Bytes}, nil
	}
	return sink.rows, nil
}

func zeroByte() *Refusal { // It would end the query early, and what follows be taken for something else.
	return badRequest(codeEncoding, "the query has a zero byte")
}

func tooManyParameters(count int) *Refusal {
	return badRequest(codeLimit, fmt.Sprintf("the query has %d parameters; PostgreSQL takes %d", count, math.MaxUint16))
}

// InTransaction is whether a transaction is open, be it one that has failed.
func (c *Conn) InTransaction() bool { return c.on != nil && c.on.transaction != idle }

// Broken is whether nothing more can be run: the connection broke, or the end of a
// context interrupted a statement, whose cancel request may come late.
func (c *Conn) Broken() bool { return c.on == nil || c.on.midway || c.on.interrupted }

// Release ends the transaction that was left open, and keeps the connection if it is as
// good as new. The context's end does not matter.
func (c *Conn) Release(ctx context.Context) {
	k := c.on
	if k == nil {
		return
	}
	c.on = nil
	if !k.midway && k.transaction != idle {
		_ = k.conn.Conn().SetDeadline(time.Now().Add(goodbye))
		_ = k.exchange("ROLLBACK", nil, nil) // Where it fails, the connection is not kept.
		_ = k.conn.Conn().SetDeadline(time.Time{})
	}
	c.from.keep(ctx, k)
}

// do runs statements whose results have so many bytes. It runs them again, on another
// connection, for as long as kept ones turn out to have been closed before anything was
// sent: nothing of them can have been run.
func (c *Conn) do(ctx context.Context, maxBytes int, run func(*kept) error) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	for {
		k := c.on
		replaceable := !k.fresh && k.transaction == idle
		k.fresh = false
		k.conn.Frontend().SetMaxBodyLen(maxBytes + messageOverhead)
		err := k.watched(ctx, run)
		if !errors.Is(err, errUnsent) {
			return err
		}
		if !replaceable {
			return lost()
		}
		if err := c.reconnect(ctx); err != nil {
			return err
		}
	}
}

// ready replaces a connection that was closed while it was kept.
func (c *Conn) ready(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if c.Broken() {
		return lost()
	}
	for !c.checked {
		if c.on.fresh || connected(c.on.conn) {
			c.checked = true
		} else if err := c.reconnect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// messageOverhead is what a message may have besides a row that is just within the
// limit, in bytes.
const messageOverhead = 64 << 10

func (c *Conn) reconnect(ctx context.Context) error {
	c.on.close(ctx)
	c.on = nil
	return c.connect(ctx)
}

// watched interrupts what runs on the connection as the context ends, and returns why
// that was.
func (c *kept) watched(ctx context.Context, run func(*kept) error) error {
	done, interrupted := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		c.interrupt(context.WithoutCancel(ctx), done)
	})
	err := run(c)
	close(done)
	if stop() {
		return err
	}
	<-interrupted
	c.interrupted = true
	if err == nil {
		return nil // It was faster, and has taken effect.
	}
	return context.Cause(ctx)
}
