// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// WebSocketLimits bounds what one WebSocket may take. Where a field is 0, its default holds.
type WebSocketLimits struct {
	// Handshake is how long a client may take from the upgrade to its password; 10 s by
	// default. The login that follows has Door.Timeout.
	Handshake time.Duration
	// Write is how long a client may take to receive a piece of at most 16 KiB; 30 s by default.
	Write time.Duration
	// Ping is after how long without a word a client is pinged, and how long it has to
	// answer; 30 s by default. It also keeps proxies from closing quiet WebSockets.
	Ping time.Duration
	// Idle is how long a client may leave the pool without work; for ever by default.
	Idle time.Duration
	// Message bounds a WebSocket message, in bytes; nothing does by default, for
	// messages are passed on as they arrive and never kept.
	Message int64
}

func (l WebSocketLimits) withDefaults() WebSocketLimits {
	l.Handshake = cmp.Or(l.Handshake, 10*time.Second)
	l.Write = cmp.Or(l.Write, 30*time.Second)
	l.Ping = cmp.Or(l.Ping, 30*time.Second)
	return l
}

// WebSocket tunnels PostgreSQL's protocol, as the Neon serverless driver does: binary
// messages carry its bytes, and where one message ends means nothing. The pool is named
// by the Host header, at /v1 by the parameter "address" instead, whose port is ignored.
// The client logs in to the gateway with a password in clear text, for that alone lets
// it send its first query along (the driver's pipelineConnect); the gateway logs in to
// the pooler through Door.
//
// ServeHTTP returns when the upgrade is done; the session goes on without it, so that
// nothing of the HTTP server's is held for it.
type WebSocket struct {
	Directory *Directory
	Door      *Door
	Limiter   *Limiter
	Limits    WebSocketLimits
	// Ended, where it is set, is told of every WebSocket that has ended.
	Ended func(WebSocketEnd)

	mu       sync.Mutex
	closing  bool
	sessions map[*session]struct{}
	running  sync.WaitGroup
}

// WebSocketEnd tells of a WebSocket that has ended. It holds no secret.
type WebSocketEnd struct {
	// Host is what the client asked for; Pool is empty where that is no pool.
	Host   string
	Pool   Pool
	Caller netip.Addr
	// Code is the SQLSTATE that the gateway ended it with; it is empty where the client
	// or the pooler did.
	Code string
	// Received and Sent count the bytes of PostgreSQL's protocol from and to the client
	// after its login.
	Received, Sent int64
	Duration       time.Duration
}

// ServeHTTP upgrades a request. What is no WebSocket's is refused in JSON; all else is
// refused over the WebSocket in PostgreSQL's own terms, for drivers show no other.
func (s *WebSocket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limits := s.Limits.withDefaults()
	up := &upgrade{ResponseWriter: w, patience: limits.Write}
	session := &session{limits: limits, host: hostOf(r), caller: CallerOf(r), began: time.Now()}
	if !s.enter(session) {
		w.Header().Set("Retry-After", "1")
		http.Error(up, "the gateway is shutting down", http.StatusServiceUnavailable)
		return
	}
	// The origin does not matter: no cookie logs in here, only what the client knows.
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		s.leave(session)
		return
	}
	ws.SetReadLimit(-1) // The stream has its own, whose breach is told to the client first.
	session.attach(up.conn, ws)
	go func() { //nolint:contextcheck // The request's context ends with ServeHTTP.
		defer s.leave(session)
		session.serve(s)
		s.tell(session)
	}()
}

func (s *WebSocket) tell(one *session) {
	if s.Ended != nil {
		s.Ended(one.summary())
	}
}

// Open is how many WebSockets are open.
func (s *WebSocket) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func (s *WebSocket) enter(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	if s.sessions == nil {
		s.sessions = map[*session]struct{}{}
	}
	s.sessions[one] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *WebSocket) leave(one *session) {
	s.mu.Lock()
	delete(s.sessions, one)
	s.mu.Unlock()
	s.running.Done()
}

// hostOf is the host that names the pool.
func hostOf(r *http.Request) string {
	if r.URL.Path == "/v1" {
		return r.URL.Query().Get("address")
	}
	return r.Host
}
