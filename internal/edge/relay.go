// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// idleBuffer is all that an idle relay holds; a read that fills it is followed by
	// one with pieceSize bytes, which also is a TLS record.
	idleBuffer = 512
	pieceSize  = 16 << 10
	// farewell is how long the pooler may take to let go of a client that has gone.
	farewell = 5 * time.Second
	// firstWait is until the first cancel request is repeated; each wait is twice the last.
	firstWait = 50 * time.Millisecond
)

// A parcel is lent to a relay while bytes flow.
type parcel [pieceSize]byte

var parcels = sync.Pool{New: func() any { return new(parcel) }}

func borrow() *parcel {
	p, ok := parcels.Get().(*parcel)
	if !ok {
		return new(parcel)
	}
	return p
}

// errPooler ends the way up; the way down ends with the same connection, and knows more.
var errPooler = errors.New("the pooler has gone")

// errOver ends the way down where nobody needs an explanation.
var errOver = errors.New("the session is over")

// relay passes bytes both ways until one side is done. Each way has one piece of at
// most pieceSize under way and reads no further before that is delivered, so that
// whoever does not receive stops who sends.
func (s *session) relay(ctx context.Context, server *pooler) error {
	if err := s.begin(server); err != nil {
		return err
	}
	s.helpers.Go(func() { s.up(server) }) //nolint:contextcheck // What ends it is the end of a connection.
	unwatch := s.watch()                  //nolint:contextcheck // It ends with the relay, whatever the context.
	defer unwatch()
	err := s.down(server)
	if errors.Is(err, errOver) {
		err = nil
	}
	s.letGo(context.WithoutCancel(ctx), server)
	return err
}

// begin makes end wake the way down from now on.
func (s *session) begin(server *pooler) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return s.why
	}
	if s.draining {
		return shutdown()
	}
	s.traffic = traffic{status: server.status, moved: time.Now()}
	s.server = server
	return nil
}

// down passes what the pooler sends to the client.
func (s *session) down(server net.Conn) error {
	idle := make([]byte, idleBuffer)
	for {
		n, err := s.passDown(server, idle)
		for n >= idleBuffer && err == nil {
			p := borrow()
			n, err = s.passDown(server, p[:])
			parcels.Put(p)
		}
		if err != nil {
			return err
		}
	}
}

// passDown passes one parcel. What has been read counts as answered once it is written:
// nobody may speak to the client before.
func (s *session) passDown(server net.Conn, p []byte) (int, error) {
	n, err := server.Read(p)
	if n > 0 {
		s.foresee(p[:n])
		if lost := s.pass(s.stream, p[:n]); lost != nil {
			s.end(gone)
		}
		if why := s.answered(p[:n]); why != nil {
			return n, why
		}
	}
	if err != nil {
		return n, s.dry() // The error is the network's, and tells a client nothing.
	}
	return n, nil
}

// foresee ends a session whose last transaction was waited for before the client hears
// that it is over: what the client asks for then would still be passed on.
func (s *session) foresee(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining || s.why != nil {
		return
	}
	after := s.traffic
	if after.answer(p); after.idle() {
		s.why = shutdown()
	}
}

// answered takes note of what was sent to the client, and ends a session whose last
// transaction was waited for.
func (s *session) answered(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.moved = time.Now()
	s.traffic.answer(p)
	if s.why == nil && s.draining && s.traffic.idle() {
		s.why = shutdown()
	}
	if s.why != nil {
		return s.why
	}
	return nil
}

// dry says what the end of the pooler's bytes means.
func (s *session) dry() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != nil:
		return s.why
	case s.traffic.over():
		return errOver // And no nil: it would have the way down go on.
	default:
		return &Refusal{
			Code:    codeConnectionFailure,
			Message: "the pooler has closed the connection",
			Hint:    fmt.Sprintf("Connect again. Pool %s may have restarted, or have ended an idle client.", s.pool.Label),
		}
	}
}

// up passes what the client sends to the pooler, until the session is over.
func (s *session) up(server net.Conn) {
	var err error
	for err == nil {
		if err = s.stream.wait(); err == nil {
			err = s.passUp(server)
		}
	}
	if !errors.Is(err, errPooler) {
		s.end(endingOf(err))
	}
}

// passUp passes one WebSocket message, piece by piece.
func (s *session) passUp(server net.Conn) error {
	p := borrow()
	defer parcels.Put(p)
	for s.stream.message != nil {
		n, err := s.stream.take(p[:])
		if err != nil {
			return err
		}
		if !s.asked(p[:n]) {
			return errPooler
		}
		if err := s.pass(server, p[:n]); err != nil {
			return errors.Join(err, errPooler)
		}
	}
	return nil
}

// asked takes note of what the client sends, before the pooler may answer it. Once it
// is settled how the session ends, nothing is passed on any more.
func (s *session) asked(p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return false
	}
	s.traffic.moved = time.Now()
	s.traffic.ask(p)
	return true
}

func (s *session) pass(to io.Writer, p []byte) error {
	s.passing.Add(1)
	defer s.passing.Add(-1)
	_, err := to.Write(p)
	return err
}

// letGo leaves the pooler such that it has its server connection back: PostgreSQL goes
// on with a query whose client has gone, so that is cancelled and its end awaited. To
// close right away would have the pooler count a busy server connection as free. It does
// nothing for a client whose query still waits for one, so that it is asked again.
func (s *session) letGo(ctx context.Context, server *pooler) {
	ctx, stop := context.WithTimeout(ctx, farewell)
	defer stop()
	deadline, _ := ctx.Deadline()
	// Errors of the connection mean that the pooler has let go already.
	_ = server.SetDeadline(deadline)
	for wait := firstWait; s.owed() && s.pool.cancel(ctx, &server.cancel) == nil; wait *= 2 {
		if !s.discard(server, wait) {
			break
		}
	}
	if goodbye, err := (&pgproto3.Terminate{}).Encode(nil); err == nil && !s.owed() {
		_, _ = server.Write(goodbye)
	}
}

// owed is whether the pooler may still be working for a client that no longer listens.
func (s *session) owed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why != nil && !s.traffic.waiting()
}

// discard reads on until the pooler has nothing more to say, at most for a while. It is
// false where the pooler will say no more.
func (s *session) discard(server net.Conn, limit time.Duration) bool {
	p := borrow()
	defer parcels.Put(p)
	if err := server.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false
	}
	for s.owed() {
		n, err := server.Read(p[:])
		s.mu.Lock()
		s.traffic.answer(p[:n])
		s.mu.Unlock()
		if err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	return true
}

// cancel passes a cancel request on to the poolers, and returns when they have closed
// the connection, which they do once they have acted on it.
func (p Pool) cancel(ctx context.Context, request *pgproto3.CancelRequest) error {
	conn, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("passing on a cancel request: %w", err)
	}
	defer conn.Close()
	forget := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer forget()
	packet, err := request.Encode(nil)
	if err != nil {
		return fmt.Errorf("passing on a cancel request: %w", err)
	}
	if _, err := conn.Write(packet); err != nil {
		return fmt.Errorf("passing on a cancel request: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("awaiting that a cancel request is done: %w", err)
	}
	return nil
}
