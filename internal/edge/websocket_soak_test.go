// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

var soakSockets = flag.Int("edge.sockets", 1000, "how many short WebSockets the soak opens")

// soakAtOnce are open at any time.
const soakAtOnce = 64

// TestShortWebSocketsOfAllSortsLeaveNothing opens many short WebSockets. Some vanish, some
// never read, some send what is no protocol, some idle; the others' queries all succeed.
func TestShortWebSocketsOfAllSortsLeaveNothing(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{Handshake: patience, Write: 500 * time.Millisecond, Idle: time.Second})
	k := &soak{site: s, gateway: g, counts: make([]atomic.Int64, len(soakClients))}
	var flat memory
	var all sync.WaitGroup
	queue := make(chan int)
	for range soakAtOnce {
		all.Go(func() {
			for range queue {
				k.client(t)
			}
		})
	}
	for i := range *soakSockets {
		queue <- i
		if i%max(1, *soakSockets/10) == *soakSockets/20 {
			flat.sample(t, g)
		}
	}
	close(queue)
	all.Wait()
	eventually(t, "every session has ended", func() bool { return g.Open() == 0 })
	flat.sample(t, g)
	k.report(t)
	flat.check(t)
	eventually(t, "every query has ended", func() bool { return s.sleepers(t) == 0 })
	// One that the pooler has closed takes a moment to end.
	eventually(t, "there are no more server connections than are granted", func() bool { return s.backends(t) <= 8 })
	if err := g.connect(t, s, whole).Ping(t.Context()); err != nil {
		t.Errorf("the pool does not serve any more: %v", err)
	}
}

// soak counts what clients of each sort did.
type soak struct {
	site    *site
	gateway *gateway
	counts  []atomic.Int64
}

// soakClients are the sorts of clients, and how many of a thousand are of each. An
// error is what must not happen.
var soakClients = []struct {
	name  string
	share int
	run   func(*soak, context.Context, *websocket.Conn) error
}{
	{"query", 700, (*soak).query},
	{"vanish before the login", 50, (*soak).vanishEarly},
	{"vanish in a query", 50, (*soak).vanishInQuery},
	{"vanish in a message", 50, (*soak).vanishInMessage},
	{"send garbage", 60, (*soak).garbage},
	{"send a text", 40, (*soak).text},
	{"fail in SQL", 40, (*soak).fail},
	{"idle", 5, (*soak).idle},
	{"never read", 5, (*soak).neverRead},
}

// client is one of a sort picked by chance.
func (k *soak) client(t testing.TB) {
	t.Helper()
	i := 0
	for at := rand.IntN(1000) - soakClients[0].share; at >= 0; at -= soakClients[i].share {
		i++
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	ws, err := k.gateway.open("/v2")
	if err == nil {
		err = soakClients[i].run(k, ctx, ws)
		_ = ws.CloseNow()
	}
	if err != nil {
		t.Errorf("a client that was to %s: %v", soakClients[i].name, err)
	}
	k.counts[i].Add(1)
}

func (k *soak) report(t testing.TB) {
	t.Helper()
	for i, sort := range soakClients {
		t.Logf("%7d were to %s", k.counts[i].Load(), sort.name)
	}
}

// login sends all that opens a session, with more after it.
func (k *soak) login(ctx context.Context, ws *websocket.Conn, more ...pgproto3.FrontendMessage) error {
	messages := append([]pgproto3.FrontendMessage{
		startup(k.site.Login), &pgproto3.PasswordMessage{Password: k.site.Login.Password},
	}, more...)
	var out []byte
	for _, message := range messages {
		var err error
		if out, err = message.Encode(out); err != nil {
			return err
		}
	}
	return ws.Write(ctx, websocket.MessageBinary, out)
}

// await reads to a message that ends as given, or to the end.
func await(ctx context.Context, ws *websocket.Conn, holds func(tail string) bool) error {
	tail := ""
	for !holds(tail) {
		_, message, err := ws.Read(ctx)
		if err != nil {
			return fmt.Errorf("after %q: %w", tail, err)
		}
		tail += string(message)
		tail = tail[max(0, len(tail)-256):]
	}
	return nil
}

const idleReady = "Z\x00\x00\x00\x05I"

func (k *soak) query(ctx context.Context, ws *websocket.Conn) error {
	if err := k.login(ctx, ws, &pgproto3.Query{String: "select 'soaked'"}); err != nil {
		return err
	}
	return await(ctx, ws, func(tail string) bool { return strings.HasSuffix(tail, "C\x00\x00\x00\rSELECT 1\x00"+idleReady) })
}

func (k *soak) fail(ctx context.Context, ws *websocket.Conn) error {
	if err := k.login(ctx, ws, &pgproto3.Query{String: "select 1/0"}); err != nil {
		return err
	}
	return await(ctx, ws, func(tail string) bool { return strings.HasSuffix(tail, "\x00\x00"+idleReady) })
}

func (*soak) vanishEarly(context.Context, *websocket.Conn) error { return nil }

func (k *soak) vanishInQuery(ctx context.Context, ws *websocket.Conn) error {
	return k.login(ctx, ws, &pgproto3.Query{String: "select pg_sleep(3600)"})
}

func (k *soak) vanishInMessage(ctx context.Context, ws *websocket.Conn) error {
	if err := k.login(ctx, ws, &pgproto3.Query{String: "begin"}); err != nil {
		return err
	}
	return ws.Write(ctx, websocket.MessageBinary, []byte("Q\x00\x00\x10\x00select"))
}

func (*soak) garbage(ctx context.Context, ws *websocket.Conn) error {
	garbage := make([]byte, 8+rand.IntN(100))
	for i := range garbage {
		garbage[i] = byte(rand.Uint32() | 0x80) // No length that is allowed begins so.
	}
	if err := ws.Write(ctx, websocket.MessageBinary, garbage); err != nil {
		return err
	}
	return await(ctx, ws, func(tail string) bool { return strings.Contains(tail, "before the login") })
}

func (k *soak) text(ctx context.Context, ws *websocket.Conn) error {
	if err := k.login(ctx, ws); err != nil {
		return err
	}
	if err := ws.Write(ctx, websocket.MessageText, []byte("select 1")); err != nil {
		return err
	}
	return await(ctx, ws, func(tail string) bool { return strings.Contains(tail, "binary messages") })
}

func (k *soak) idle(ctx context.Context, ws *websocket.Conn) error {
	if err := k.login(ctx, ws); err != nil {
		return err
	}
	return await(ctx, ws, func(tail string) bool { return strings.Contains(tail, "57P05") })
}

func (k *soak) neverRead(ctx context.Context, ws *websocket.Conn) error {
	err := k.login(ctx, ws, &pgproto3.Query{String: "select repeat('x', 1000000) from generate_series(1, 50)"})
	if err != nil {
		return err
	}
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
	}
	return nil
}

// memory is what the process holds, client and gateway, as the soak goes on.
type memory struct{ samples []uint64 }

func (m *memory) sample(t testing.TB, g *gateway) {
	t.Helper()
	runtime.GC()
	runtime.GC() // The second shrinks what the first has freed of pools.
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	m.samples = append(m.samples, now.HeapAlloc+now.StackInuse)
	t.Logf("%d sessions, %d goroutines, %.1f MiB", g.Open(), runtime.NumGoroutine(), float64(now.HeapAlloc+now.StackInuse)/(1<<20))
}

// check holds the end against the beginning.
func (m *memory) check(t testing.TB) {
	t.Helper()
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if last > first+(16<<20) {
		t.Errorf("memory grew from %d to %d bytes", first, last)
	}
}
