// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

func TestAWebSocketCarriesASessionHoweverItsBytesAreCut(t *testing.T) {
	for name, option := range map[string]func(testing.TB, *site){"plain": nil, "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			s := aSite(t, options(option)...)
			g := aGateway(t, s, edge.WebSocketLimits{})
			for name, c := range map[string]struct {
				cut  func(net.Conn) net.Conn
				rows int
			}{"whole": {whole, 1000}, "in sevens": {cutting(7), 300}, "in bytes": {cutting(1), 50}} {
				t.Run(name, func(t *testing.T) {
					exercise(t, g.connect(t, s, c.cut), c.rows)
				})
			}
		})
	}
}

func options(option func(testing.TB, *site)) []func(testing.TB, *site) {
	if option == nil {
		return nil
	}
	return []func(testing.TB, *site){option}
}

// exercise queries, copies, fails and recovers on one connection.
func exercise(t *testing.T, conn *pgx.Conn, rows int) {
	t.Helper()
	ctx := t.Context()
	var sum, copied int
	if err := conn.QueryRow(ctx, "select $1::int + 1", 41).Scan(&sum); err != nil || sum != 42 {
		t.Errorf("41 + 1 is %d, %v", sum, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // It is over by then.
	if _, err := tx.Exec(ctx, "create temporary table t (id int primary key, words text) on commit drop"); err != nil {
		t.Fatal(err)
	}
	source := pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{i, strings.Repeat("x", i)}, nil })
	if n, err := tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id", "words"}, source); err != nil || n != int64(rows) {
		t.Fatalf("copied %d rows: %v", n, err)
	}
	if err := tx.QueryRow(ctx, "select count(*), sum(length(words)) from t").Scan(&copied, &sum); err != nil || copied != rows || sum != rows*(rows-1)/2 {
		t.Errorf("there are %d rows with %d bytes: %v", copied, sum, err)
	}
	if _, err := tx.Exec(ctx, "insert into t values (1)"); code(err) != "23505" {
		t.Errorf("a key twice ends in %v", err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestAPasswordAndTheFirstQueryMayComeWithTheStartupPacket(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	ws := g.dial(t, "/v2")
	send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password},
		&pgproto3.Query{String: "select 'first'"}, &pgproto3.Query{String: "select pg_terminate_backend(pg_backend_pid())"}))
	heard := hear(t, ws)
	if !strings.HasPrefix(heard.kinds, "RRS") || !strings.Contains(heard.kinds, "SKZTDCZ") || heard.status != websocket.StatusNormalClosure {
		t.Errorf("the gateway says %q, then %v", heard.kinds, heard.err)
	}
}

func TestV1NamesThePoolByItsAddressAndNoOther(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled := make(chan struct{}, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.Close()
			dialled <- struct{}{}
		}
	}()
	g.host = "unknown.example"
	for address, want := range map[string]string{
		s.host(): "Z", s.host() + ":1": "Z", strings.ToUpper(s.host()): "Z",
		listener.Addr().String(): "08004", s.Pool.Address: "08004", "": "08004", "%00": "08004",
	} {
		ws := g.dial(t, "/v1?address="+address)
		send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}, &pgproto3.Terminate{}))
		heard := hear(t, ws)
		if want == "Z" && !strings.HasSuffix(heard.kinds, "Z") {
			t.Errorf("address %q: the gateway says %q", address, heard.kinds)
		}
		if want != "Z" && heard.failure(t).Code != want {
			t.Errorf("address %q: the gateway says %v", address, heard.failure(t))
		}
	}
	select {
	case <-dialled:
		t.Error("the gateway dials what a stranger names")
	default:
	}
}

func TestWhatIsNoWebSocketIsRefusedInJSON(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	for name, header := range map[string]http.Header{
		"a plain request": {},
		"no key":          {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}},
		"an old version":  {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.server.URL+"/v2", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		response, err := g.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode < 400 || response.StatusCode > 499 || !strings.HasPrefix(string(body), `{"message":"`) ||
			response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: status %d, %s, %v", name, response.StatusCode, body, err)
		}
	}
	g.server.Client().CloseIdleConnections()
}

func TestACancelRequestReachesThePool(t *testing.T) {
	for name, option := range map[string]func(testing.TB, *site){"plain": nil, "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			s := aSite(t, options(option)...)
			g := aGateway(t, s, edge.WebSocketLimits{})
			conn := g.connect(t, s, whole)
			done := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(3600)")
				done <- err
			}()
			eventually(t, "the query runs", func() bool { return s.sleepers(t) == 1 })
			cancelling := g.dial(t, "/v2")
			send(t, cancelling, encoded(t, &pgproto3.CancelRequest{ProcessID: conn.PgConn().PID(), SecretKey: conn.PgConn().SecretKey()}))
			if heard := hear(t, cancelling); heard.kinds != "" || heard.status != websocket.StatusNormalClosure {
				t.Errorf("a cancel request is answered with %q, %v", heard.kinds, heard.err)
			}
			if err := <-done; code(err) != "57014" {
				t.Errorf("the query ends in %v", err)
			}
			if err := conn.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// sleepers counts the pool's backends that run a query.
func (s *site) sleepers(t testing.TB) int {
	t.Helper()
	return len(s.Postgres.Ask(t, "select repeat('x', count(*)::int) from pg_stat_activity where usename = 'owner' and state = 'active' and query like '%pg_sleep%'"))
}

func TestAClientThatVanishesHasItsQueryCancelled(t *testing.T) {
	s := aSite(t, withBackends(1))
	g := aGateway(t, s, edge.WebSocketLimits{})
	for _, query := range []string{"select pg_sleep(3600)", "begin; select pg_sleep(3600)", "copy (select pg_sleep(3600)) to stdout"} {
		ws := g.dial(t, "/v2")
		send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}, &pgproto3.Query{String: query}))
		eventually(t, "the query runs", func() bool { return s.sleepers(t) == 1 })
		if err := ws.CloseNow(); err != nil {
			t.Error(err)
		}
		eventually(t, "the backend is let go", func() bool { return s.sleepers(t) == 0 })
		// The only server connection is free again.
		if err := g.connect(t, s, whole).Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAQueryThatStillWaitsWhenItsClientVanishesNeverOccupiesAServer(t *testing.T) {
	s := aSite(t, withBackends(1))
	g := aGateway(t, s, edge.WebSocketLimits{})
	occupant := g.connect(t, s, whole)
	tx, err := occupant.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ws := loggedIn(t, g, s)
	send(t, ws, encoded(t, &pgproto3.Query{String: "select pg_sleep(3600)"}))
	if err := ws.CloseNow(); err != nil {
		t.Error(err)
	}
	time.Sleep(300 * time.Millisecond) // A cancel request now does nothing, for nothing runs.
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session of the vanished client is over", func() bool { return g.Open() == 1 })
	eventually(t, "its query does not run", func() bool { return s.sleepers(t) == 0 })
	if err := occupant.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestABigResultReachesASlowReaderWhole(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	conn := g.connect(t, s, whole)
	rows, err := conn.Query(t.Context(), "select repeat(chr(65 + i % 26), 100000) from generate_series(1, 300) i")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for rows.Next() {
		total += len(rows.RawValues()[0])
		time.Sleep(time.Millisecond)
	}
	if err := rows.Err(); err != nil || total != 30_000_000 {
		t.Errorf("%d bytes, %v", total, err)
	}
}

// code is the SQLSTATE of an error, empty where it has none.
func code(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code
	}
	return ""
}
