// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// run is what one request has under way.
type run struct {
	http   *HTTP
	pool   Pool
	caller netip.Addr
	login  Login
	form   form
	// end ends the request's context, with the cause.
	end context.CancelCauseFunc

	conn *kept
	out  []byte
}

// errUnsent is that a kept connection was closed before a byte of a statement left.
var errUnsent = errors.New("the connection was closed before the statement was sent")

// request logs in, reads the body, and runs what it says. A stranger is turned away
// before any of the body is.
func (r *run) request(ctx context.Context, body func() ([]byte, error)) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	defer func() { r.leave(ctx) }()
	data, err := body()
	if err != nil {
		return err
	}
	statements, batch, err := readStatements(data)
	if err != nil {
		return err
	}
	for !r.conn.fresh && !connected(r.conn.conn) {
		if err := r.reconnect(ctx); err != nil {
			return err
		}
	}
	return r.retried(ctx, func() error {
		if batch {
			return r.batch(ctx, statements)
		}
		return r.statement(statements[0])
	})
}

// retried runs it again, on another connection, for as long as kept ones turn out to
// have been closed before anything was sent: nothing of it can have been run.
func (r *run) retried(ctx context.Context, do func() error) error {
	begun := len(r.out)
	for {
		fresh := r.conn.fresh
		r.conn.fresh = false
		err := r.watched(ctx, do)
		if err == nil {
			return nil
		}
		r.out = r.out[:begun]
		if !errors.Is(err, errUnsent) {
			return err
		}
		if fresh {
			return lost()
		}
		if err := r.reconnect(ctx); err != nil {
			return err
		}
	}
}

func (r *run) reconnect(ctx context.Context) error {
	r.conn.close(ctx)
	r.conn = nil
	return r.connect(ctx)
}

// leave ends the transaction that a request left open, and keeps the connection if it
// is as good as new.
func (r *run) leave(ctx context.Context) {
	if r.conn == nil {
		return
	}
	if c := r.conn; !c.midway && c.transaction != idle {
		_ = c.conn.Conn().SetDeadline(time.Now().Add(goodbye))
		_ = c.exchange(command("ROLLBACK"), nil) // Where it fails, the connection is not kept.
		_ = c.conn.Conn().SetDeadline(time.Time{})
	}
	r.http.keep(ctx, r.conn)
}

// watched interrupts what runs on the connection as the context ends, and returns why
// that was.
func (r *run) watched(ctx context.Context, do func() error) error {
	done, interrupted := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		r.conn.interrupt(context.WithoutCancel(ctx), done)
	})
	err := do()
	close(done)
	if stop() {
		return err
	}
	<-interrupted
	r.conn.altered = true
	if err == nil {
		return nil // It was faster, and has taken effect.
	}
	return context.Cause(ctx)
}

// statement runs one, and adds its result.
func (r *run) statement(s statement) error {
	result := &result{out: r.out, raw: r.form.raw, array: r.form.array}
	if s.ArrayMode != nil {
		result.array = *s.ArrayMode
	}
	result.limit, result.full = r.http.Limits.ResultBytes, func() { r.end(r.http.resultTooLarge()) }
	err := r.conn.exchange(s, result)
	r.out = result.out
	_, long := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err)
	if long || err == nil && result.over {
		return r.http.resultTooLarge()
	}
	return err
}

// keep gives a connection back.
func (h *HTTP) keep(ctx context.Context, c *kept) { h.kept.give(ctx, c, h.Limits, h.sweep) }

// sweep closes connections that are too old, and those of pools that are no longer
// where they were.
func (h *HTTP) sweep() {
	h.kept.sweep(func(c *kept) bool {
		now, err := h.Directory.Find(c.pool.Label + "." + h.Directory.Domain)
		return err == nil && now.sameDoor(c.pool) && time.Since(c.since) < h.Limits.KeptFor && connected(c.conn)
	}, h.sweep)
}

// sameDoor is whether a login at one pool is a login at the other.
func (p Pool) sameDoor(other Pool) bool {
	return p.Namespace == other.Namespace && p.Name == other.Name && p.Address == other.Address &&
		p.TLS == other.TLS && p.ServerName == other.ServerName && p.Authority == other.Authority && p.Session == other.Session
}
