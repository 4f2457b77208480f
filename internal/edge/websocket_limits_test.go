// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

func TestAClientThatNeverReadsStopsItsServerAndIsLeft(t *testing.T) {
	s := aSite(t, withBackends(1))
	g := aGateway(t, s, edge.WebSocketLimits{Write: time.Second})
	ended := make(chan edge.WebSocketEnd, 1)
	g.Ended = func(end edge.WebSocketEnd) { ended <- end }
	ws := loggedIn(t, g, s)
	send(t, ws, encoded(t, &pgproto3.Query{String: "select repeat('x', 1000000) from generate_series(1, 200)"}))
	end := <-ended
	// What was sent lies in the kernel's buffers; nothing more was taken from the pooler.
	if end.Sent > 64<<20 {
		t.Errorf("%d bytes were sent to a client that reads none", end.Sent)
	}
	g.Ended = nil
	if err := g.connect(t, s, whole).Ping(t.Context()); err != nil {
		t.Errorf("the only server connection is not free again: %v", err)
	}
}

func TestAnIdleSessionEndsAndABusyOneDoesNot(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{Idle: 500 * time.Millisecond})
	idle, busy := loggedIn(t, g, s), loggedIn(t, g, s)
	send(t, busy, encoded(t, &pgproto3.Query{String: "select pg_sleep(2)"}))
	if failure := hear(t, idle).failure(t); failure.Code != "57P05" {
		t.Errorf("the gateway says %s: %q", failure.Code, failure.Message)
	}
	ready(t, busy)
}

func TestADeadClientIsFoundByPings(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{Ping: time.Second})
	living := g.connect(t, s, whole)
	quiet := loggedIn(t, g, s) // It reads no more, and so answers no ping.
	reading := make(chan error, 1)
	go func() {
		_, err := living.Exec(context.Background(), "select pg_sleep(3)")
		reading <- err
	}()
	eventually(t, "the dead client is left", func() bool { return g.Open() == 1 })
	if err := <-reading; err != nil {
		t.Errorf("the living client is left, too: %v", err)
	}
	_ = quiet.CloseNow()
}

func TestShutdownWaitsForTransactionsAndTellsTheRest(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	idle, busy, early := loggedIn(t, g, s), g.connect(t, s, whole), g.dial(t, "/v2")
	tx, err := busy.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(context.Background()) }()
	for _, ws := range []*websocket.Conn{idle, early} {
		heard := hear(t, ws)
		if failure := heard.failure(t); failure.Code != "57P01" || heard.status != websocket.StatusGoingAway {
			t.Errorf("the gateway says %s, then %v", failure.Code, heard.err)
		}
	}
	if _, err := g.open("/v2"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a late client gets %v", err)
	}
	if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
		t.Errorf("the transaction is cut off: %v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("the transaction is cut off: %v", err)
	}
	if err := busy.Ping(t.Context()); err == nil {
		t.Error("the session goes on after its transaction")
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsWhatRunsWhenItsTimeIsUp(t *testing.T) {
	s := aSite(t, withBackends(2))
	g := aGateway(t, s, edge.WebSocketLimits{})
	done := make(chan error, 2)
	for range 2 {
		conn := g.connect(t, s, whole)
		go func() {
			_, err := conn.Exec(context.Background(), "select pg_sleep(3600)")
			done <- err
		}()
	}
	eventually(t, "the queries run", func() bool { return s.sleepers(t) == 2 })
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutting down: %v", err)
	}
	for range 2 {
		if err := <-done; code(err) != "57P01" {
			t.Errorf("a query ends in %v", err)
		}
	}
	eventually(t, "the backends are let go", func() bool { return s.sleepers(t) == 0 })
}

func TestManySocketsAtOnceShareThePoolsBackends(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{Handshake: patience})
	var all sync.WaitGroup
	failures := make(chan error, 500)
	for range cap(failures) {
		all.Go(func() {
			conn, err := pgx.ConnectConfig(context.Background(), g.config(t, s, whole))
			if err == nil {
				_, err = conn.Exec(context.Background(), "select pg_sleep(0.01)")
				err = errors.Join(err, conn.Close(context.Background()))
			}
			if err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	if n := len(failures); n > 0 {
		t.Errorf("%d sessions failed, the first: %v", n, <-failures)
	}
	if n := s.backends(t); n > 8 {
		t.Errorf("there are %d server connections, where 8 are granted", n)
	}
}
