// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgconn"
)

// A client runs queries, one after the other.
type client struct {
	query func(context.Context) error
	close func()
}

// newClient makes a client ready to query.
type newClient func(context.Context) (client, error)

// keptConnection queries over one connection to PostgreSQL or PgBouncer.
func keptConnection(config *pgconn.Config) newClient {
	return func(ctx context.Context) (client, error) {
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			return client{}, err
		}
		return client{
			query: func(ctx context.Context) error { return selectOne(ctx, conn) },
			close: func() { _ = conn.Close(context.Background()) },
		}, nil
	}
}

// newConnections makes a connection for every query.
func newConnections(config *pgconn.Config) newClient {
	return afresh(keptConnection(config))
}

// afresh makes a client for every query.
func afresh(connect newClient) newClient {
	query := func(ctx context.Context) error {
		one, err := connect(ctx)
		if err != nil {
			return err
		}
		defer one.close()
		return one.query(ctx)
	}
	return func(context.Context) (client, error) { return client{query: query, close: func() {}}, nil }
}

// selectOne is the query of all clients, by the extended protocol and without a name.
func selectOne(ctx context.Context, conn *pgconn.PgConn) error {
	result := conn.ExecParams(ctx, "select $1::int4 + 1", [][]byte{[]byte("41")}, nil, nil, nil).Read()
	if result.Err == nil && (len(result.Rows) != 1 || string(result.Rows[0][0]) != "42") {
		return fmt.Errorf("a query returned %q", result.Rows)
	}
	return result.Err
}

const sqlBody = `{"query":"select $1::int4 + 1","params":["41"]}`

// A worker reaches the gateway as the Neon serverless driver does.
type worker struct {
	gateway string // Its address.
	host    string // Of the pool.
	login   *pgconn.Config
	tls     *tls.Config // nil for plain HTTP.
}

func (w worker) dial(ctx context.Context) (net.Conn, error) {
	if w.tls == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.gateway)
	}
	return (&tls.Dialer{Config: w.tls}).DialContext(ctx, "tcp", w.gateway)
}

// sql queries over one connection. It writes bytes that are made in advance, and
// spends little on the answer: what is measured is the gateway.
func (w worker) sql(ctx context.Context) (client, error) {
	conn, err := w.dial(ctx)
	if err != nil {
		return client{}, err
	}
	_, domain, _ := strings.Cut(w.host, ".")
	request := fmt.Appendf(nil, "POST /sql HTTP/1.1\r\nHost: api.%s\r\nContent-Length: %d\r\n"+
		"Neon-Connection-String: postgresql://%s:%s@%s/%s\r\nNeon-Raw-Text-Output: true\r\nNeon-Array-Mode: true\r\n\r\n%s",
		domain, len(sqlBody), w.login.User, w.login.Password, w.host, w.login.Database, sqlBody)
	reader := bufio.NewReader(conn)
	query := func(context.Context) error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && !strings.Contains(string(body), `"rows":[["42"]]`) {
			err = fmt.Errorf("/sql answered %s with %s", response.Status, body)
		}
		return err
	}
	return client{query: query, close: func() { _ = conn.Close() }}, nil
}

// socket queries over a WebSocket of its own.
func (w worker) socket(ctx context.Context) (client, error) {
	return keptConnection(w.tunnel())(ctx)
}

// tunnel is for a connection over a WebSocket. The password comes with the startup
// packet as far as the gateway is concerned: it asks for it in clear text.
func (w worker) tunnel() *pgconn.Config {
	config := w.login.Copy()
	config.TLSConfig, config.Fallbacks = nil, nil
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx) }}
		//nolint:bodyclose // The library says that it need not be.
		ws, _, err := websocket.Dial(ctx, "wss://"+w.host+"/v2", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			return nil, err
		}
		return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
	}
	return config
}

// idle opens a WebSocket that is logged in, and does no more than answer pings.
func (w worker) idle(t *testing.T) {
	t.Helper()
	conn, err := pgconn.ConnectConfig(t.Context(), w.tunnel())
	if err != nil {
		t.Fatal(err)
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = hijacked.Conn.Read(make([]byte, 1)) }() // Ends as the connection is closed.
	t.Cleanup(func() { _ = hijacked.Conn.Close() })
}
