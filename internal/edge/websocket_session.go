// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
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
	cancel   context.CancelFunc
	server   net.Conn // The pooler's, from the login on.
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

// serve runs the session to its end.
func (s *session) serve(gateway *WebSocket) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	err := s.run(ctx, gateway)
	s.close(err)
	s.helpers.Wait()
}

// run does all that the client may want, and returns why it is over.
func (s *session) run(ctx context.Context, gateway *WebSocket) error {
	if err := s.expect(s.began.Add(s.limits.Handshake)); err != nil {
		return err
	}
	opening, err := readOpening(s.stream)
	if err != nil {
		return late(err, s.limits.Handshake)
	}
	pool, err := gateway.Directory.Find(s.host)
	if err != nil {
		return err
	}
	s.pool = pool
	switch opening := opening.(type) {
	case *pgproto3.CancelRequest:
		return s.passOn(ctx, opening)
	case *pgproto3.StartupMessage:
		release, err := gateway.Limiter.Admit(pool, s.caller)
		if err != nil {
			return err
		}
		defer release()
		return s.logIn(ctx, gateway.Door, opening)
	default:
		return violation(fmt.Sprintf("a client can not open with %T", opening))
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

// logIn takes the client through its login to the end of its session.
func (s *session) logIn(ctx context.Context, door *Door, startup *pgproto3.StartupMessage) error {
	server, err := s.connect(ctx, door, startup)
	if err != nil {
		return err
	}
	defer server.Conn.Close()
	welcome, err := welcome(server)
	if err != nil {
		return err
	}
	if _, err := s.stream.Write(welcome); err != nil { //nolint:contextcheck // The connection has a deadline for each write.
		return err
	}
	return s.relay(ctx, server)
}

// connect logs the client in to the pool. Nothing of the password outlives it.
func (s *session) connect(ctx context.Context, door *Door, startup *pgproto3.StartupMessage) (*pgconn.HijackedConn, error) {
	login, err := loginOf(startup)
	if err != nil {
		return nil, err
	}
	if s.pool.Unready != "" {
		return nil, unready(s.pool)
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
	return takeOver(ctx, conn)
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

// welcome is what PostgreSQL sends after a login: its parameters, the key to cancel
// with, and that it is ready.
func welcome(server *pgconn.HijackedConn) ([]byte, error) {
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for _, name := range slices.Sorted(maps.Keys(server.ParameterStatuses)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: server.ParameterStatuses[name]})
	}
	messages = append(messages,
		&pgproto3.BackendKeyData{ProcessID: server.PID, SecretKey: server.SecretKey},
		&pgproto3.ReadyForQuery{TxStatus: server.TxStatus})
	var out []byte
	for _, message := range messages {
		var err error
		if out, err = message.Encode(out); err != nil {
			return nil, fmt.Errorf("telling the client that it is logged in: %w", err)
		}
	}
	return out, nil
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
