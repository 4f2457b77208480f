// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestAKilledPgBouncerIsStartedAgain(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.grant(1, 5, p.config(aConfig(nil)))
	p.runs(1, 5)
	p.killPgBouncer()
	eventually(t, "it was started again", func() bool { return p.starts() > 1 })
	p.runs(1, 5)
	eventually(t, "it is ready", p.ready)
}

func TestAKilledPgBouncerComesBackWhenItsConnectionsAreGone(t *testing.T) {
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 6})
	p.grant(1, 10, p.config(cfg))
	p.runs(1, 10)
	const query = "select pg_sleep(5)"
	ask := func() error {
		conn, err := p.client("shop")
		if err == nil {
			_, err = conn.Exec(context.Background(), query)
		}
		return err
	}
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			for ask() != nil { // Cut, it asks again at once.
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	busy := func(s contract.Status) bool { return s.Active == 10 }
	p.await("all its connections are busy", busy)
	sampler := watchServer(t, server)
	p.killPgBouncer()
	eventually(t, "it was started again", func() bool { return p.starts() > 1 })
	p.await("all its connections are busy again", busy)
	if highest := sampler.stop()[""]; highest > 10+1 {
		t.Errorf("%d server connections, want the 10 of its share, and a login in flight at most", highest)
	}
	clients.Wait()
}

func TestReadinessDoesNotDependOnTheServerNorOnFreeClientConnections(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.MaxClientConnections = 2
	p.grant(1, 5, p.config(cfg))
	p.runs(1, 5)
	for range 2 {
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.client("shop"); err == nil {
		t.Fatal("a third client was let in")
	}
	if !p.ready() {
		t.Error("it is not ready with all client connections taken")
	}
	if err := p.console().Pause(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if !p.ready() {
		t.Error("it is not ready while its database is paused")
	}
	server.Stop(t)
	time.Sleep(aWhile)
	if !p.ready() {
		t.Error("it is not ready without its server")
	}
	if code, _ := p.get("/healthz", nil); code != 200 {
		t.Error("it is not healthy without its server")
	}
}

func TestADrainWaitsForClientsAndReportsIt(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	revision := p.config(aConfig(server))
	p.grant(1, 6, revision)
	p.runs(1, 6)
	conn, err := p.client("shop")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
		t.Fatal(err)
	}
	p.cancel()
	eventually(t, "it is not ready", func() bool { return !p.ready() })
	p.await("it reports the drain, and gives back what nobody uses", func(s contract.Status) bool {
		return s.Draining && s.Gen == 1 && s.Cap == 1
	})
	if _, err := tx.Exec(t.Context(), "select pg_sleep(1)"); err != nil {
		t.Errorf("a transaction was cut: %v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("a transaction was cut: %v", err)
	}
	p.stop()
	// Only the container ended: what was given back is not taken again.
	p.start()
	p.runs(1, 1)
	p.grant(2, 6, revision)
	p.runs(2, 6)
}

func TestADrainLosesNoQueryThatWasRun(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t)
	p.options.DrainTimeout = 12 * time.Second
	p.start()
	p.grant(1, 6, p.config(aConfig(server)))
	p.runs(1, 6)
	conn, err := p.client("shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "create table done ()"); err != nil {
		t.Fatal(err)
	}
	type result struct {
		done int
		err  error
	}
	results := make(chan result, 10)
	for range cap(results) {
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			done, err := queryUntilClosed(conn, "insert into done select from pg_sleep(0.002)")
			results <- result{done, err}
		}()
	}
	time.Sleep(500 * time.Millisecond)
	p.stop()
	done := 0
	for range cap(results) {
		r := <-results
		done += r.done
		// A query can cross the closing of its connection. PgBouncer then says so.
		if r.err != nil && !strings.Contains(r.err.Error(), "client_idle_timeout") {
			t.Errorf("a query was cut: %v", r.err)
		}
	}
	var run int
	if err := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop").QueryRow(t.Context(), "select count(*) from done").Scan(&run); err != nil {
		t.Fatal(err)
	}
	if run != done || done == 0 {
		t.Errorf("the server ran %d queries, clients know of %d", run, done)
	}
}

// queryUntilClosed asks now and then, checking before each query that the
// connection is open, as a pool does.
func queryUntilClosed(conn *pgx.Conn, query string) (done int, err error) {
	open := func() bool { return conn.Ping(context.Background()) == nil }
	for ; open(); done++ {
		if _, err := conn.Exec(context.Background(), query); err != nil {
			return done, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return done, nil
}

func TestADrainIsBounded(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t)
	p.options.DrainTimeout = 2 * time.Second
	p.start()
	p.grant(1, 6, p.config(aConfig(server)))
	p.runs(1, 6)
	conn, err := p.client("shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := conn.Exec(t.Context(), "commit"); err == nil {
		t.Error("PgBouncer is still there")
	}
}

func TestTheStatusIsForThoseWhoKnowTheKey(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	eventually(t, "it answers", func() bool { code, _ := p.get("/healthz", nil); return code == 200 })
	if code, _ := p.get(contract.StatusPath, statusKey); code != 404 {
		t.Errorf("without a key of its own it answers %d, want 404", code)
	}
	revision := p.config(aConfig(server))
	p.grant(3, 5, revision)
	p.runs(3, 5)
	for name, key := range map[string][]byte{"no": nil, "an empty": {}, "another": []byte("another")} {
		if code, body := p.get(contract.StatusPath, key); code != 403 || strings.Contains(body, p.uid) {
			t.Errorf("with %s key it answers %d %s, want 403", name, code, body)
		}
	}
	var holders []*pgx.Conn
	for range 2 {
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "begin"); err != nil {
			t.Fatal(err)
		}
		holders = append(holders, conn)
	}
	s, _ := p.status()
	want := contract.Status{UID: p.uid, Gen: 3, Config: revision, Cap: 5, Current: 2, Active: 2, Clients: 2, Peak: 2}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if backends := server.Backends(t); len(backends) != len(holders) {
		t.Errorf("the server has %d connections, the status says %d", len(backends), s.Current)
	}
}

func TestStartupParametersOfORMsAndDriversAreTolerated(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 5, p.config(aConfig(server)))
	p.runs(1, 5)
	for name, value := range map[string]string{
		"pgbouncer": "true", "connection_limit": "1", "pool_timeout": "20", "schema": "public", "sslaccept": "strict",
		"options": "-c statement_timeout=5000", "channel_binding": "prefer", "statement_cache_size": "0",
		"default_query_exec_mode": "exec", "extra_float_digits": "3", "search_path": "public", "prepare": "false",
		"application_name": "shop", "statement_timeout": "5000",
	} {
		conn, err := p.client("shop", func(c *pgx.ConnConfig) { c.RuntimeParams[name] = value })
		if err == nil {
			_, err = conn.Exec(t.Context(), "select 1")
		}
		if err != nil {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

func TestReplicationIsRefused(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 5, p.config(aConfig(server)))
	p.runs(1, 5)
	as := func(kind string) func(*pgx.ConnConfig) {
		return func(c *pgx.ConnConfig) { c.RuntimeParams["replication"] = kind }
	}
	for _, kind := range []string{"true", "database"} {
		if _, err := p.client("shop", as(kind)); err == nil {
			t.Errorf("replication=%s was let in", kind)
		}
	}
	server.Exec(t, "alter role app replication")
	if _, err := p.client("shop", as("true")); err == nil {
		t.Error("replication=true was let in")
	}
	var replica *pgx.Conn
	eventually(t, "a client is let in that asks for logical replication", func() bool {
		conn, err := p.client("shop", as("database"))
		replica = conn
		return err == nil
	})
	eventually(t, "it is closed", func() bool { return replica.Ping(t.Context()) != nil })
	eventually(t, "its connection is free", func() bool { s, _ := p.status(); return s.Current == 0 && s.Clients == 0 })
	conn, err := p.client("shop")
	if err == nil {
		_, err = conn.Exec(t.Context(), "select 1")
	}
	if err != nil {
		t.Errorf("afterwards an ordinary client fails: %v", err)
	}
}

func TestEveryServerConnectionIsCountedIn(t *testing.T) {
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	// 100 less 3 for superusers and 91 for others leaves 6, one less for the sampler.
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 94})
	p.grant(1, 20, p.config(cfg))
	p.runs(1, 20)
	sampler := watchServer(t, server)
	clients := p.load(20, "select pg_sleep(0.01)", "shop")
	time.Sleep(4 * time.Second)
	clients.end(t)
	highest := sampler.stop()[""]
	t.Logf("at most %d server connections", highest)
	if highest > 5+1 {
		t.Errorf("%d server connections, there is room for 5 and a login in flight", highest)
	}
	if highest < 4 {
		t.Errorf("%d server connections, there is room for 5", highest)
	}
}
