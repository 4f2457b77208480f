// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// ofTheSite are what waits for a PgBouncer that a test has started anew.
var ofTheSite = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/poolfleet/poolfleet/internal/testenv.(*PgBouncerServer).start.func1"),
	goleak.IgnoreAnyFunction("os/exec.(*Cmd).writerDescriptor.func1"),
}

// A gateway serves WebSockets alone. When its test ends it is shut down, and must leave
// no goroutine behind.
type gateway struct {
	*edge.WebSocket
	server *httptest.Server
	host   string
}

func aGateway(t testing.TB, s *site, limits edge.WebSocketLimits) *gateway {
	t.Helper()
	before := goleak.IgnoreCurrent()
	g := &gateway{
		WebSocket: &edge.WebSocket{Directory: s.Directory, Door: &edge.Door{Timeout: patience}, Limiter: &edge.Limiter{}, Limits: limits},
		host:      s.host(),
	}
	g.server = httptest.NewServer(g.WebSocket)
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		g.server.Close()
		if err := goleak.Find(append(ofTheSite, before)...); err != nil {
			t.Errorf("the gateway leaves goroutines behind: %v", err)
		}
	})
	return g
}

// dial opens a WebSocket at a path, as a client that names the gateway's pool by the
// Host header.
func (g *gateway) dial(t testing.TB, path string) *websocket.Conn {
	t.Helper()
	ws, err := g.open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

func (g *gateway) open(path string) (*websocket.Conn, error) {
	transport := &http.Transport{}
	//nolint:bodyclose // The library says that it need not be.
	ws, _, err := websocket.Dial(context.Background(), g.server.URL+path, &websocket.DialOptions{
		Host: g.host, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	return ws, nil
}

// config is pgx's, through the gateway; chunk is how the client cuts its bytes.
func (g *gateway) config(t testing.TB, s *site, chunk func(net.Conn) net.Conn) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.Host, config.Port = "127.0.0.1", 5432
	config.User, config.Password, config.Database = s.Login.User, s.Login.Password, s.Login.Database
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		ws, err := g.open("/v2")
		if err != nil {
			return nil, err
		}
		return chunk(websocket.NetConn(context.Background(), ws, websocket.MessageBinary)), nil
	}
	return config
}

// connect is a pgx connection through the gateway.
func (g *gateway) connect(t testing.TB, s *site, chunk func(net.Conn) net.Conn) *pgx.Conn {
	t.Helper()
	return connectAs(t, g.config(t, s, chunk))
}

// connectAs is a connection with a config of one's own.
func connectAs(t testing.TB, config *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func whole(conn net.Conn) net.Conn { return conn }

// cutting sends at most n bytes in a message.
func cutting(n int) func(net.Conn) net.Conn {
	return func(conn net.Conn) net.Conn { return &cut{Conn: conn, n: n} }
}

type cut struct {
	net.Conn
	n int
}

func (c *cut) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := c.Conn.Write(p[:min(c.n, len(p))])
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// encoded is the bytes of messages, one after the other.
func encoded(t testing.TB, messages ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var out []byte
	for _, message := range messages {
		var err error
		if out, err = message.Encode(out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// startup is the startup packet of a login.
func startup(login edge.Login) *pgproto3.StartupMessage {
	return &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters:      map[string]string{"user": login.User, "database": login.Database},
	}
}

// An answer is all that the gateway said until it closed the WebSocket.
type answer struct {
	kinds  string // Of the messages, a byte each.
	bodies [][]byte
	status websocket.StatusCode
	err    error
}

// failure is the ErrorResponse that ended the session.
func (a answer) failure(t testing.TB) *pgproto3.ErrorResponse {
	t.Helper()
	i := strings.IndexByte(a.kinds, 'E')
	if i < 0 {
		t.Fatalf("no ErrorResponse among the messages %q, closed with %v", a.kinds, a.err)
	}
	failure := &pgproto3.ErrorResponse{}
	if err := failure.Decode(a.bodies[i]); err != nil {
		t.Fatal(err)
	}
	return failure
}

// hear reads until the gateway closes the WebSocket.
func hear(t testing.TB, ws *websocket.Conn) answer {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	var all []byte
	for {
		_, message, err := ws.Read(ctx)
		if err != nil {
			answer := parsed(t, all)
			answer.status, answer.err = websocket.CloseStatus(err), err
			return answer
		}
		all = append(all, message...)
	}
}

func parsed(t testing.TB, all []byte) answer {
	t.Helper()
	a := answer{}
	for len(all) > 0 {
		if len(all) < 5 || len(all) < 1+int(binary.BigEndian.Uint32(all[1:])) {
			t.Fatalf("the gateway ends within a message, after %q", a.kinds)
		}
		end := 1 + int(binary.BigEndian.Uint32(all[1:]))
		a.kinds += string(all[:1])
		a.bodies = append(a.bodies, all[5:end])
		all = all[end:]
	}
	return a
}

// send writes bytes as one binary message.
func send(t testing.TB, ws *websocket.Conn, p []byte) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageBinary, p); err != nil {
		t.Fatal(err)
	}
}
