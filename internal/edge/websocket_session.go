// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// session is one client's WebSocket. The goroutine of serve owns it: it alone writes
// PostgreSQL's bytes to the client, says the last words and closes everything. Whoever
// wants the session to end says so with end, which wakes the owner.
type session struct {
	limits WebSocketLimits
	host   string
	caller netip.Addr
	began  time.Time
	pool   Pool
	// release gives back what Admit gave, where it gave.
	release func()

	conn   net.Conn
	ws     *websocket.Conn
	stream *stream
	// helpers are the goroutines that the owner waits for.
	helpers sync.WaitGroup
	// passing is how many pieces are being written, either way.
	passing atomic.Int32

	// mu guards what follows.
	mu sync.Mutex
	// why is how the session ends, once that is settled; the first word holds.
	why *ending
	// draining ends the session as soon as it is idle.
	draining bool
	cancel   context.CancelFunc // Until the session is open.
	server   net.Conn           // The pooler's, from the login on.
	traffic  traffic
}

// attach gives the session its connection.
func (s *session) attach(conn net.Conn, ws *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.ws = conn, ws
	s.stream = &stream{ws: ws, limit: s.limits.Message}
}

// end settles how the session ends, unless that is settled, and wakes its owner.
func (s *session) end(why *ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(why)
}

func (s *session) endLocked(why *ending) {
	if s.why == nil {
		s.why = why
	}
	if s.cancel != nil {
		s.cancel()
	}
	// A deadline that has passed ends the read that the owner is in. Where setting it
	// fails the connection is closed, which ends the read, too.
	switch past := time.Unix(1, 0); {
	case s.server != nil:
		_ = s.server.SetReadDeadline(past)
	case s.conn != nil:
		_ = s.conn.SetReadDeadline(past)
	}
}

// expect bounds the reads of the handshake, unless the session is to end.
func (s *session) expect(deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return s.why
	}
	return s.conn.SetReadDeadline(deadline)
}

// serve runs the session to its end. What relays stands on a flat stack, for there may
// be many that idle; what needs a deep one returns before, or has a goroutine of its own.
func (s *session) serve(gateway *WebSocket) {
	server, err := s.enter(gateway)
	if server != nil {
		err = s.relay(context.Background(), server)
		_ = server.Close() // It is the pooler's by now, or lost.
	}
	if s.release != nil {
		s.release()
	}
	s.close(err)
	s.helpers.Wait()
}

// enter is open on another stack, and with a context that end ends and nothing keeps.
func (s *session) enter(gateway *WebSocket) (*pooler, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.cancelWith(cancel)
	defer s.cancelWith(nil)
	var server *pooler
	var err error
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		server, err = s.open(ctx, gateway)
	}()
	<-opened
	return server, err
}

func (s *session) cancelWith(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

// open takes the client to its pooler. There is none where it wanted something else, or
// where the error says why it can not have one.
func (s *session) open(ctx context.Context, gateway *WebSocket) (*pooler, error) {
	if err := s.expect(s.began.Add(s.limits.Handshake)); err != nil {
		return nil, err
	}
	opening, err := readOpening(s.stream)
	if err != nil {
		return nil, late(err, s.limits.Handshake)
	}
	s.pool, err = gateway.Directory.Find(s.host)
	if err != nil {
		return nil, err
	}
	switch opening := opening.(type) {
	case *pgproto3.CancelRequest:
		return nil, s.passOn(ctx, opening)
	case *pgproto3.StartupMessage:
		s.release, err = gateway.Limiter.Admit(s.pool, s.caller)
		if err != nil {
			return nil, err
		}
		return s.logIn(ctx, gateway.Door, opening)
	default:
		return nil, violation(fmt.Sprintf("a client can not open with %T", opening))
	}
}

// passOn hands a cancel request to the poolers. As with PostgreSQL, no client learns
// what came of it.
func (s *session) passOn(ctx context.Context, request *pgproto3.CancelRequest) error {
	ctx, stop := context.WithTimeout(ctx, s.limits.Handshake)
	defer stop()
	_ = s.pool.cancel(ctx, request)
	return nil
}

// logIn logs the client in to the pool. Nothing of the password outlives it.
func (s *session) logIn(ctx context.Context, door *Door, startup *pgproto3.StartupMessage) (*pooler, error) {
	login, err := loginOf(startup)
	if err != nil {
		return nil, err
	}
	if err := s.pool.Ready(); err != nil {
		return nil, err
	}
	prelude, err := negotiate(startup)
	if err != nil {
		return nil, err
	}
	login.Password, err = askPassword(s.stream, prelude)
	if err != nil {
		return nil, late(err, s.limits.Handshake)
	}
	if err := s.expect(time.Time{}); err != nil {
		return nil, err
	}
	conn, err := door.Enter(ctx, s.pool, s.caller, login)
	if err != nil {
		return nil, err
	}
	hijacked, err := takeOver(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := s.greet(hijacked); err != nil { //nolint:contextcheck // The connection has a deadline for each write.
		_ = hijacked.Conn.Close()
		return nil, err
	}
	return &pooler{
		Conn: hijacked.Conn, status: hijacked.TxStatus,
		cancel: pgproto3.CancelRequest{ProcessID: hijacked.PID, SecretKey: bytes.Clone(hijacked.SecretKey)},
	}, nil
}

// pooler is a connection on which a client is logged in, and all that is kept of the login.
type pooler struct {
	net.Conn
	cancel pgproto3.CancelRequest
	status byte // The transaction's.
}

// takeOver gets at the connection beneath. SyncConn comes first: after a slow write
// pgconn may be reading in the background, and would swallow the pooler's next bytes.
func takeOver(ctx context.Context, conn *pgconn.PgConn) (*pgconn.HijackedConn, error) {
	if err := conn.SyncConn(ctx); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return hijacked, nil
}

// greet sends what PostgreSQL does after a login: its parameters, the key to cancel
// with, and that it is ready.
func (s *session) greet(server *pgconn.HijackedConn) error {
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for _, name := range slices.Sorted(maps.Keys(server.ParameterStatuses)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: server.ParameterStatuses[name]})
	}
	messages = append(messages,
		&pgproto3.BackendKeyData{ProcessID: server.PID, SecretKey: server.SecretKey},
		&pgproto3.ReadyForQuery{TxStatus: server.TxStatus})
	var greeting []byte
	for _, message := range messages {
		var err error
		if greeting, err = message.Encode(greeting); err != nil {
			return fmt.Errorf("telling the client that it is logged in: %w", err)
		}
	}
	_, err := s.stream.Write(greeting)
	return err
}

// close says the last words and closes the WebSocket. What it can not say or close, the
// client no longer waits for.
func (s *session) close(err error) {
	why := s.settle(endingOf(err))
	if why == gone {
		_ = s.ws.CloseNow()
		return
	}
	_ = s.conn.SetReadDeadline(time.Time{})
	reason := ""
	if why.response != nil {
		reason = why.response.Message
		s.say(why.response)
	}
	// A reason has at most 123 bytes of UTF-8 (RFC 6455, section 5.5).
	_ = s.ws.Close(why.status, strings.ToValidUTF8(reason[:min(len(reason), 120)], ""))
}

func (s *session) settle(why *ending) *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = why
	}
	return s.why
}

// say tells the client why it ends, unless it would stand within another message.
func (s *session) say(response *pgproto3.ErrorResponse) {
	if !s.traffic.answers.between() {
		return
	}
	if words, err := response.Encode(nil); err == nil {
		_, _ = s.stream.Write(words)
	}
}

// summary is complete once serve has returned.
func (s *session) summary() WebSocketEnd {
	end := WebSocketEnd{
		Host: s.host, Pool: s.pool, Caller: s.caller, Duration: time.Since(s.began),
		Received: s.traffic.asks.total, Sent: s.traffic.answers.total,
	}
	if s.why.response != nil {
		end.Code = s.why.response.Code
	}
	return end
}
