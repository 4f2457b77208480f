// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Server is the gateway's front: it tells HTTP from WebSockets, writes the access log,
// counts, and ends without cutting anybody short.
type Server struct {
	// SQL answers /sql, WebSocket the upgrades on /v2 and /v1.
	SQL       http.Handler
	WebSocket http.Handler
	// Accelerate answers at the paths that it serves; nil serves none.
	Accelerate interface {
		http.Handler
		Serves(path string) bool
	}
	Callers Callers
	Metrics *Metrics
	// Certificate is nil where the gateway speaks plain HTTP.
	Certificate *Certificate
	// Ready says why requests should go to other replicas, or nothing.
	Ready func() error
	// Delay is how long others have to learn that this replica ends, before it takes no
	// more connections; Timeout bounds what comes then.
	Delay   time.Duration
	Timeout time.Duration
	// Drain, where it is set, waits for what needs further requests to end, at the latest
	// until the context ends. Connections are still taken meanwhile.
	Drain func(context.Context)
	// Shutdown ends what http.Server does not know of, at the latest with the context.
	Shutdown func(context.Context) error
	Log      *slog.Logger
	// AccessLog is whether each request and WebSocket gets a line of the log.
	AccessLog bool

	ending atomic.Bool
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, handler := s.route(r)
	p, begun := newPassage(w, r), time.Now()
	p.kind, p.method, p.caller = kind, r.Method, s.Callers.Of(r)
	ctx := context.WithValue(r.Context(), visitKey{}, &p.visit)
	r = r.WithContext(ctx)
	r.Body = &p.body
	if len(s.Callers.Trusted) > 0 || s.Callers.Peers != nil { // Else it is the peer, who stands there already.
		r.RemoteAddr = netip.AddrPortFrom(p.caller, 0).String()
	}
	if s.ending.Load() && kind != kindWebSocket {
		w.Header().Set("Connection", "close") // The next request goes to another replica.
	}
	defer func() {
		problem := recover()
		s.report(problem, &p.answer)
		p.finish()
		p.code, p.duration = strconv.Itoa(p.answer.status), time.Since(begun)
		p.received, p.sent = p.body.received, p.answer.sent
		// A WebSocket that is open is told of when it ends.
		if p.answer.status != http.StatusSwitchingProtocols {
			s.tell(ctx, &p.visit)
		}
		if problem != nil {
			panic(http.ErrAbortHandler) // What was written of an answer is not the whole of it.
		}
	}()
	handler.ServeHTTP(&p.answer, r)
}

func (s *Server) route(r *http.Request) (string, http.Handler) {
	switch path := r.URL.Path; {
	case path == "/sql":
		return kindHTTP, s.SQL
	case (path == "/v2" || path == "/v1") && strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return kindWebSocket, s.WebSocket
	case s.Accelerate != nil && s.Accelerate.Serves(path):
		return kindAccelerate, s.Accelerate
	}
	return kindOther, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, &Refusal{
			Status: http.StatusNotFound, Code: codeProtocolViolation, Message: "there is nothing at this path",
			Hint: "Statements are sent with POST to /sql, and WebSockets are opened at /v2.",
		})
	})
}

// report says which mistake of ours ends a request.
func (s *Server) report(problem any, answer *recorder) {
	err, _ := problem.(error)
	if problem == nil || errors.Is(err, http.ErrAbortHandler) { // That is an answer of another server that broke off.
		return
	}
	answer.status = http.StatusInternalServerError
	s.Log.Error("a request met a mistake in the gateway", "panic", fmt.Sprint(problem), "stack", string(debug.Stack()))
}

// tell writes of a request or a WebSocket that has ended.
func (s *Server) tell(ctx context.Context, v *visit) {
	s.Metrics.count(v)
	if !s.AccessLog {
		return
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, v.kind, slog.String("pool", v.pool.String()), slog.String("method", v.method),
		slog.String("code", v.code), slog.Int64("durationMs", v.duration.Milliseconds()), slog.Int64("received", v.received),
		slog.Int64("sent", v.sent), slog.String("caller", v.caller.String()))
}
