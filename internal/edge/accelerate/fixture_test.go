// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	planDomain   = "edge.test"
	planPassword = "s3cret/of the:client@100%"
	// planPatience is for a busy machine; nothing waits for it when all is well.
	planPatience = time.Minute
	// planVersion is of a client that is supported.
	planVersion = "7.10.1"
)

// A shop is a PostgreSQL with a table, and the PgBouncer before it, as a pool.
type shop struct {
	Postgres  *testenv.PostgresServer
	PgBouncer *testenv.PgBouncerServer
	// Rendering is what PgBouncer runs; see rewrite.
	Rendering pgbouncer.Rendering
	Pool      edge.Pool
	Directory *edge.Directory
	Key       apikey.Key
}

func aShop(t testing.TB, options ...func(*shop)) *shop {
	t.Helper()
	s := &shop{
		Postgres:  testenv.Postgres(t, map[string]string{"max_connections": "40"}),
		Pool:      edge.Pool{Namespace: "web", Name: "shop", Label: "shop-web", MaxConcurrency: 1000},
		Directory: &edge.Directory{Domain: planDomain},
		Key:       apikey.Key{Namespace: "web", Pool: "shop", User: "app", Password: planPassword, Database: "shop"},
	}
	s.Postgres.Exec(t, "create role owner login password 'server'", "create database shop owner owner")
	s.Rendering = pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server:    pgbouncer.Server{Host: s.Postgres.Host, Port: s.Postgres.Port, User: "owner", Password: "server", TLSMode: "disable"},
			Databases: []pgbouncer.Database{{Name: "shop", Database: "shop"}},
			Mode:      pgbouncer.ModeTransaction,
			Users: []pgbouncer.User{
				{Name: s.Key.User, Password: s.Key.Password}, {Name: "second", Password: "another"},
			},
			MaxClientConnections: 500,
		},
		Limits: pgbouncer.Limits{"shop": 8},
	}
	for _, option := range options {
		option(s)
	}
	s.PgBouncer = testenv.PgBouncer(t, s.Rendering)
	s.Pool.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.PgBouncer.Port)))
	s.list()
	owner := s.Postgres.Connect(t, "owner", "server", "shop")
	if _, err := owner.Exec(t.Context(), "create table item (id int primary key, name text unique)"); err != nil {
		t.Fatal(err)
	}
	return s
}

// list makes Pool the only one of the Directory.
func (s *shop) list() { s.Directory.Replace(map[string]edge.Pool{s.Pool.Label: s.Pool}) }

// rewrite makes PgBouncer run what Rendering says now.
func (s *shop) rewrite(t testing.TB) {
	t.Helper()
	s.PgBouncer.Write(t, s.Rendering)
	if err := s.PgBouncer.Admin.Reload(t.Context()); err != nil {
		t.Fatalf("reloading PgBouncer: %v", err)
	}
}

// inTransaction counts the server's sessions of clients that are in a transaction.
func (s *shop) inTransaction(t testing.TB) string {
	t.Helper()
	return s.Postgres.Ask(t, "select count(*) from pg_stat_activity where usename = 'owner' and xact_start is not null")
}

// names are those of all items.
func (s *shop) names(t testing.TB) string {
	t.Helper()
	var names *string
	conn := s.Postgres.Connect(t, "owner", "server", "shop")
	if err := conn.QueryRow(t.Context(), "select string_agg(name, ' ' order by id) from item").Scan(&names); err != nil {
		t.Fatal(err)
	}
	if names == nil {
		return ""
	}
	return *names
}

// A replica is the gateway's part for Prisma's clients before a shop, on plain HTTP.
type replica struct {
	*shop
	Handler *accelerate.Handler
	Key     apikey.Key
	URL     string
	Client  *http.Client
}

func aReplica(t testing.TB, s *shop, options ...func(*accelerate.Handler)) *replica {
	t.Helper()
	connections := &edge.Connections{Directory: s.Directory, Door: &edge.Door{Timeout: planPatience}, Limits: edge.DefaultKeptLimits}
	handler := &accelerate.Handler{
		Directory: s.Directory, Connections: connections, Limiter: &edge.Limiter{}, Limits: edge.DefaultHTTPLimits,
		Transactions: &accelerate.Transactions{Limits: accelerate.DefaultTransactionLimits},
	}
	for _, option := range options {
		option(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { server.Close(); connections.Close() })
	return &replica{shop: s, Handler: handler, Key: s.Key, URL: server.URL, Client: server.Client()}
}

// reply is what a client reads.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// request is as Prisma's client sends it.
func (r *replica) request(t testing.TB, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = r.Pool.Label + "." + planDomain
	request.Header.Set("Authorization", "Bearer "+r.Key.String())
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Prisma-Engine-Hash", planVersion)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	return request
}

func (r *replica) send(t testing.TB, request *http.Request) reply {
	t.Helper()
	response, err := r.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" || !json.Valid(text) {
		t.Errorf("%s %s: status %d, content type %q: %s", request.Method, request.URL.Path, response.StatusCode, got, text)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

func (r *replica) post(t testing.TB, path, body string, headers ...string) reply {
	t.Helper()
	return r.send(t, r.request(t, http.MethodPost, path, body, headers...))
}

// plan is a query's body with a plan that runs one statement and returns its rows. The
// statement's parameters are texts.
func plan(operation, sql string, parameters ...string) string {
	args, types := []any{}, []any{}
	for _, parameter := range parameters {
		args, types = append(args, parameter), append(types, map[string]string{"scalarType": "string", "arity": "scalar"})
	}
	body, err := json.Marshal(map[string]any{
		"operation": operation, "params": map[string]any{},
		"plan": map[string]any{"type": "query", "args": map[string]any{"type": "rawSql", "sql": sql, "args": args, "argTypes": types}},
	})
	if err != nil {
		panic(err) // Text is never refused.
	}
	return string(body)
}

// rows runs a statement as a query, and returns its rows in JSON.
func (r *replica) rows(t testing.TB, sql string, parameters ...string) string {
	t.Helper()
	return r.rowsIn(t, "", sql, parameters...)
}

// rowsIn runs it in a transaction, or none.
func (r *replica) rowsIn(t testing.TB, transaction, sql string, parameters ...string) string {
	t.Helper()
	path := "/query"
	if transaction != "" {
		path = "/transaction/" + transaction + "/query"
	}
	got := r.post(t, path, plan("queryRaw", sql, parameters...))
	if got.Status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", sql, got.Status, got.Body)
	}
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(got.Body), &answer); err != nil {
		t.Fatal(err)
	}
	return string(answer.Data)
}

// problem is an error as the client reads it.
type problem struct {
	Status int
	Code   string
	Error  string
}

// fails expects an error, and returns it.
func fails(t testing.TB, got reply) problem {
	t.Helper()
	p := problem{Status: got.Status}
	if err := json.Unmarshal([]byte(got.Body), &p); err != nil || p.Error == "" || got.Status < 400 {
		t.Errorf("status %d is no error: %s", got.Status, got.Body)
	}
	return p
}

const startBody = `{"maxWait":60000,"timeout":15000}`

// start begins an interactive transaction.
func (r *replica) start(t testing.TB, body string) string {
	t.Helper()
	got := r.post(t, "/transaction/start", body)
	var started struct{ ID string }
	if err := json.Unmarshal([]byte(got.Body), &started); err != nil || got.Status != http.StatusOK || started.ID == "" {
		t.Fatalf("status %d: %s", got.Status, got.Body)
	}
	if id := got.Header.Get("Prisma-Transaction-Id"); id != started.ID {
		t.Errorf("the header has %q", id)
	}
	return started.ID
}

func (r *replica) commit(t testing.TB, transaction string) {
	t.Helper()
	if got := r.post(t, "/transaction/"+transaction+"/commit", ""); got.Status != http.StatusOK || got.Body != "{}" {
		t.Fatalf("committing: status %d: %s", got.Status, got.Body)
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(planPatience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it does not hold that %s", planPatience, what)
		}
	}
}
