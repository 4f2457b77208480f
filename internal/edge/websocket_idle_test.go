// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// TestAnIdleWebSocketHoldsLittle counts what this process holds for idle sessions. The
// clients are bare connections of it, and count, too.
func TestAnIdleWebSocketHoldsLittle(t *testing.T) {
	const sockets = 500
	const most = 20<<10 + 4<<10 // The gateway's, and what its client and the race detector add.
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	login := encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password})
	clients := make([]net.Conn, 0, sockets)
	open := func() {
		conn := bare(t, g)
		clients = append(clients, conn)
		if _, err := conn.Write(masked(0x82, login)); err != nil {
			t.Fatal(err)
		}
		hearBare(t, conn, idleReady)
	}
	open() // What the first one makes all others share.
	before := held()
	for range sockets {
		open()
	}
	each := (held() - before) / sockets
	t.Logf("%d bytes for each of %d idle WebSockets, clients and all", each, sockets)
	if each > most {
		t.Errorf("an idle WebSocket holds %d bytes, where %d are enough", each, most)
	}
	if n := g.Open(); n != len(clients) {
		t.Errorf("%d of %d WebSockets are open", n, len(clients))
	}
	for _, conn := range clients {
		_ = conn.Close()
	}
}

// held is what the heap and the stacks take of memory, in bytes.
func held() int {
	runtime.GC()
	runtime.GC() // The second frees what pools have kept over the first, and shrinks stacks once more.
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int(now.HeapInuse + now.StackInuse)
}

// bare is a WebSocket without a library, which keeps nothing.
func bare(t testing.TB, g *gateway) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	request := "GET /v2 HTTP/1.1\r\nHost: " + g.host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	hearBare(t, conn, "\r\n\r\n")
	return conn
}

// hearBare reads until what was read ends as given.
func hearBare(t testing.TB, conn net.Conn, end string) {
	t.Helper()
	var heard strings.Builder
	for buffer := make([]byte, 4096); !strings.HasSuffix(heard.String(), end); {
		n, err := conn.Read(buffer)
		heard.Write(buffer[:n])
		if err != nil {
			t.Fatalf("after %q: %v", heard.String(), err)
		}
	}
}

// masked is a frame of a client, whose mask is zeros.
func masked(first byte, payload []byte) []byte {
	header := []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	return append(header, payload...)
}
