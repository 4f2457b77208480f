// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Run serves clients, and on the other listener metrics and health, until the context
// ends. Then it is not ready, goes on for a while until nobody sends requests here, and
// lets those under way finish.
func (s *Server) Run(ctx context.Context, clients, metrics net.Listener) error {
	front, back := s.front(), s.back()
	failed := make(chan error, 2)
	go func() { failed <- s.serve(front, clients) }()
	go func() { failed <- back.Serve(metrics) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.Log.Info("the gateway ends")
	err = errors.Join(err, s.shutDown(context.WithoutCancel(ctx), front, err == nil))
	_ = back.Close() // Nobody waits for metrics.
	return err
}

func (s *Server) serve(front *http.Server, clients net.Listener) error {
	if s.Certificate == nil {
		return front.Serve(clients)
	}
	return front.ServeTLS(clients, "", "")
}

// Bounds of what a stranger can make the gateway keep. A connection string travels in a
// header; everything else there is small.
const (
	headerTimeout = 10 * time.Second
	headerBytes   = 64 << 10
	keepAlive     = 2 * time.Minute
	streams       = 250
)

func (s *Server) front() *http.Server {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: headerBytes, IdleTimeout: keepAlive,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams, SendPingTimeout: keepAlive, PingTimeout: headerTimeout, WriteByteTimeout: piecePatience,
		},
		// What it says is of broken handshakes, which strangers can make at will.
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	if s.Certificate != nil {
		server.TLSConfig = s.Certificate.config()
	}
	return server
}

func (s *Server) back() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics.handler())
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
}

func (s *Server) ready() error {
	if s.ending.Load() {
		return errors.New("the gateway ends")
	}
	return s.Ready()
}

// shutDown waits for what is under way. Meanwhile answers say that their connection
// closes, so that few are left which are idle: those are closed as a request may come.
func (s *Server) shutDown(ctx context.Context, front *http.Server, politely bool) error {
	s.ending.Store(true)
	if politely {
		time.Sleep(s.Delay)
	}
	ctx, stop := context.WithTimeout(ctx, s.Timeout)
	defer stop()
	if politely && s.Drain != nil {
		s.Drain(ctx)
	}
	others := make(chan error, 1)
	go func() { others <- s.Shutdown(ctx) }()
	err := errors.Join(front.Shutdown(ctx), <-others)
	_ = front.Close() // It says nothing that Shutdown did not.
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("waiting for clients to finish: what was left after %v is cut", s.Timeout)
	}
	return err
}
