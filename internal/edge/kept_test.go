// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// clients are the connections that PgBouncer has of clients, by their sockets' addresses.
func (s *site) clients(t testing.TB) []string {
	t.Helper()
	rows, err := s.PgBouncer.Admin.Show(t.Context(), "CLIENTS")
	if err != nil {
		t.Fatal(err)
	}
	var clients []string
	for _, row := range rows {
		if row["user"] == s.Login.User {
			clients = append(clients, row["addr"]+":"+row["port"])
		}
	}
	return clients
}

func TestTheNextRequestNeedsNoLoginAndFindsNothingOfTheLast(t *testing.T) {
	for name, options := range map[string][]func(testing.TB, *site){"plain": nil, "encrypted": {encrypted}} {
		t.Run(name, func(t *testing.T) {
			g := aGate(t, aSite(t, options...))
			g.rows(t, "select 1")
			first := g.clients(t)
			for _, body := range []any{
				query("select 1"), query("select 1/0"), query("no statement"), batch(query("select 1"), query("select 1/0")),
				query("begin"), batch(query("set local statement_timeout = 5000"), query("select 2")), `{}`, "no JSON",
			} {
				g.post(t, g.asDriver(), body)
				if diff := cmp.Diff(first, g.clients(t)); diff != "" {
					t.Errorf("%v is not followed by the same connection (-before +after):\n%s", body, diff)
				}
			}
			if got := g.rows(t, "show statement_timeout"); got != `[["0"]]` {
				t.Errorf("what a batch set for itself is still %s", got)
			}
			g.rows(t, "begin")
			if got := g.busy(t, ""); got != 0 {
				t.Error("a transaction is left open")
			}
			for _, text := range []string{"set timezone = 'Asia/Tokyo'", "set application_name = 'x'", "copy (select 1) to stdout"} {
				before := g.clients(t)
				g.post(t, g.asDriver(), query(text))
				eventually(t, "the connection is closed after "+text, func() bool { return len(g.clients(t)) == 0 })
				if got := g.rows(t, "select current_setting('timezone'), current_setting('application_name')"); got != `[["UTC",""]]` {
					t.Errorf("after %s: %s", text, got)
				}
				if cmp.Equal(before, g.clients(t)) {
					t.Errorf("%s: the connection is still the same", text)
				}
			}
		})
	}
}

func TestLoginsDoNotShareConnections(t *testing.T) {
	s := aSite(t)
	s.Rendering.Config.Databases = append(s.Rendering.Config.Databases, pgbouncer.Database{Name: "other", Database: "postgres"})
	s.Rendering.Limits["other"] = 2
	s.Rendering.Config.Users = append(s.Rendering.Config.Users, pgbouncer.User{Name: "second", Password: "another"})
	s.rewrite(t)
	g := aGate(t, s)
	g.rows(t, "select 1")
	g.Login.Database = "other"
	if got := g.rows(t, "select current_database()"); got != `[["postgres"]]` {
		t.Errorf("another database is %s", got)
	}
	named := with(g.asDriver(), connectionString, g.url()+"&application_name=worker")
	if _, answer := g.post(t, named, query("show application_name")); member(t, answer, "rows") != `[["worker"]]` {
		t.Errorf("another name is %s", answer)
	}
	if got := len(g.clients(t)); got != 3 {
		t.Errorf("%d connections for three logins", got)
	}
	for _, login := range []edge.Login{
		{User: "app", Password: clientPassword + "x", Database: "shop"},
		{User: "second", Password: clientPassword, Database: "shop"},
		{User: "nobody", Password: clientPassword, Database: "shop"},
	} {
		g.Login = login
		want := problem{http.StatusBadRequest, "28P01", fmt.Sprintf("password authentication failed for user %q", login.User)}
		if diff := cmp.Diff(want, g.problem(t, g.asDriver(), query("select 1"))); diff != "" {
			t.Errorf("%s with a wrong password (-want +got):\n%s", login.User, diff)
		}
	}
}

func TestARequestDoesNotFailBecauseAPoolerRestarted(t *testing.T) {
	for name, options := range map[string][]func(testing.TB, *site){"plain": nil, "encrypted": {encrypted}} {
		t.Run(name, func(t *testing.T) {
			g := aGate(t, aSite(t, options...))
			g.together(t, 20, "select pg_sleep(0.01)")
			for range 2 {
				g.PgBouncer.Restart(t)
				g.rows(t, "select 1")
				g.together(t, 20, "select pg_sleep(0.01)")
			}
		})
	}
}

// together runs a statement in so many requests at once, none of which may fail.
func (g *gate) together(t testing.TB, requests int, text string) {
	t.Helper()
	var all sync.WaitGroup
	for range requests {
		r := g.request(t, g.asDriver(), query(text))
		all.Go(func() {
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("status %d", response.StatusCode)
			}
		})
	}
	all.Wait()
}

func TestManyRequestsAtOnceShareFewServerConnections(t *testing.T) {
	for name, options := range map[string][]func(testing.TB, *site){
		"in transaction mode": {withBackends(4)}, "in session mode": {withBackends(4), inSessionMode},
	} {
		t.Run(name, func(t *testing.T) {
			g := aGate(t, aSite(t, options...))
			over := make(chan struct{})
			go func() {
				defer close(over)
				g.together(t, 200, "select pg_sleep(0.01)")
			}()
			most := 0
			for running := true; running; {
				select {
				case <-over:
					running = false
				default:
					most = max(most, g.backends(t))
				}
			}
			if most == 0 || most > 4 {
				t.Errorf("%d server connections at once", most)
			}
		})
	}
}

func TestARushNeedsFewerLoginsThanRequests(t *testing.T) {
	const requests = 300
	g := aGate(t, aSite(t))
	g.together(t, requests, "select 1")
	rows, err := g.PgBouncer.Admin.Show(t.Context(), "STATS_TOTALS")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row["database"] != g.Login.Database {
			continue
		}
		if logins, err := strconv.Atoi(row["client_login_count"]); err != nil || logins == 0 || logins >= requests {
			t.Errorf("%d logins for %d requests, %v", logins, requests, err)
		}
	}
}

func TestInSessionModeNothingIsKept(t *testing.T) {
	g := aGate(t, aSite(t, inSessionMode, withBackends(1)))
	for i := range 3 {
		want := `[["` + g.Postgres.Ask(t, "current_setting('work_mem')") + `"]]`
		if got := g.rows(t, "show work_mem"); got != want {
			t.Errorf("request %d finds %s", i, got)
		}
		g.rows(t, fmt.Sprintf("set work_mem = '%dMB'", 64+i))
	}
	eventually(t, "no client is connected", func() bool { return len(g.clients(t)) == 0 })
}

func TestAPasswordThatWasReplacedWorksNoLongerThanConnectionsAreKept(t *testing.T) {
	const lifetime = 2 * time.Second
	g := aGate(t, aSite(t), func(h *edge.HTTP) { h.Connections.Limits.For = lifetime })
	g.rows(t, "select 1")
	g.Rendering.Config.Users[0].Password = "its successor"
	g.rewrite(t)
	old := g.asDriver()
	begun := time.Now()
	eventually(t, "the old password is refused, however often it is used", func() bool {
		response, _ := g.post(t, old, query("select 1"))
		return response.StatusCode == http.StatusBadRequest
	})
	if took := time.Since(begun); took > lifetime+patience/2 {
		t.Errorf("it went on for %v", took)
	}
	g.Login.Password = "its successor"
	g.rows(t, "select 1")
}

func TestConnectionsAreClosedWithTheirPool(t *testing.T) {
	g := aGate(t, aSite(t))
	open := func() bool { return len(g.clients(t)) > 0 }
	closed := func() bool { return !open() }
	for name, change := range map[string]func(){
		"it is gone":            func() { g.Directory.Replace(nil) },
		"its address changed":   func() { g.Pool.Address = "127.0.0.1:1"; g.list() },
		"its authority changed": func() { g.Pool.Authority = "another"; g.list() },
		"the gateway ends":      func() { g.HTTP.Connections.Close() },
	} {
		before := g.Pool
		h := aGate(t, g.site)
		g.HTTP = h.HTTP
		h.rows(t, "select 1")
		if !open() {
			t.Errorf("%s: nothing was kept to begin with", name)
		}
		change()
		eventually(t, "nothing is kept as "+name, closed)
		g.Pool = before
		g.list()
	}
}

func TestNoMoreIsKeptThanTheLimits(t *testing.T) {
	s := aSite(t)
	g := aGate(t, s, func(h *edge.HTTP) { h.Connections.Limits.Idle, h.Connections.Limits.PerLogin = 3, 2 })
	g.together(t, 10, "select pg_sleep(0.1)")
	eventually(t, "two connections are kept", func() bool { return len(g.clients(t)) == 2 })
	for _, name := range []string{"a", "b"} {
		header := with(g.asDriver(), connectionString, g.url()+"&application_name="+name)
		g.post(t, header, query("select 1"))
	}
	eventually(t, "three connections are kept", func() bool { return len(g.clients(t)) == 3 })
}
