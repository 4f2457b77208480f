// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Hostile are clients that do not care what becomes of anyone. Nothing that happens
// to them is a failure.
type Hostile struct {
	URL  string
	Dial pgconn.DialFunc
	// Vanishing clients leave in the middle of a query or a transaction, without a
	// word. Cancelling clients cancel their queries from beside.
	Vanishing, Cancelling int

	// Vanished and Cancelled count what they did.
	Vanished, Cancelled atomic.Int64
}

// hostileTimeout bounds whatever one of them does.
const hostileTimeout = 20 * time.Second

// Run returns once ctx has ended and all of them are gone.
func (h *Hostile) Run(ctx context.Context) {
	var clients sync.WaitGroup
	for range h.Vanishing {
		clients.Go(func() { repeat(ctx, &h.Vanished, h.vanish) })
	}
	for range h.Cancelling {
		clients.Go(func() { repeat(ctx, &h.Cancelled, h.cancel) })
	}
	clients.Wait()
}

func repeat(ctx context.Context, count *atomic.Int64, do func(context.Context) error) {
	for ctx.Err() == nil {
		if do(ctx) == nil {
			count.Add(1)
		}
		pause(ctx, about(300*time.Millisecond))
	}
}

// Storm has so many clients connect at once: some say nothing, some leave once they
// are in, some vanish in a query. It returns how many got in.
func (h *Hostile) Storm(ctx context.Context, count int) int64 {
	var entered atomic.Int64
	var clients sync.WaitGroup
	for i := range count {
		clients.Go(func() {
			if h.rush(ctx, i%3) == nil {
				entered.Add(1)
			}
		})
	}
	clients.Wait()
	return entered.Load()
}

func (h *Hostile) rush(ctx context.Context, manner int) error {
	switch manner {
	case 0:
		return h.gape(ctx)
	case 1:
		conn, err := h.connect(ctx)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	default:
		return h.vanish(ctx)
	}
}

// gape opens a connection and says nothing on it.
func (h *Hostile) gape(ctx context.Context) error {
	config, err := Config(h.URL, h.Dial)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hostileTimeout)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", net.JoinHostPort(config.Host, "5432"))
	if err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
	return conn.Close()
}

func (h *Hostile) connect(ctx context.Context) (*pgconn.PgConn, error) {
	config, err := Config(h.URL, h.Dial)
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = hostileTimeout
	return pgconn.ConnectConfig(ctx, config)
}

// vanish sends a query and resets the connection while it runs.
func (h *Hostile) vanish(ctx context.Context) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	statement := "select pg_sleep(2)"
	if upTo(2) == 0 {
		statement = "begin; select pg_sleep(0.02)"
	}
	conn.Frontend().SendQuery(&pgproto3.Query{String: statement})
	err = conn.Frontend().Flush()
	pause(ctx, 20*time.Millisecond+upTo(200*time.Millisecond))
	if tcp, ok := conn.Conn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Conn().Close()
	return err
}

// cancel runs a query and cancels it from beside.
func (h *Hostile) cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, hostileTimeout)
	defer stop()
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = conn.Exec(ctx, "select pg_sleep(1)").ReadAll()
	}()
	pause(ctx, 20*time.Millisecond+upTo(200*time.Millisecond))
	err = conn.CancelRequest(ctx)
	<-answered
	return err
}
