// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	otherPassword  = "another's"
	legacyDomain   = "edge.test"
	legacyPassword = "s3cret/of the:client@100%"
)

// legacyTables is what legacySchema models.
var legacyTables = []string{
	"create table account (id text primary key, balance int not null, big bigint, note text)",
	"create table doc (id serial primary key, body jsonb not null)",
}

// legacySchema is as an application has it; what is not ASCII has to arrive whole.
const legacySchema = `datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
generator client {
  provider = "prisma-client-js"
}
/// Kontoführung ✓
model Account {
  id      String  @id
  balance Int
  big     BigInt?
  note    String? @default("grün")
  @@map("account")
}
model Doc {
  id   Int  @id @default(autoincrement())
  body Json
  @@map("doc")
}
`

// A legacySite is a PostgreSQL, a PgBouncer, the sidecar, and the gateway's part of the
// older protocol before them, which believes whoever asks to have the pool's key.
type legacySite struct {
	Postgres  *testenv.PostgresServer
	PgBouncer *testenv.PgBouncerServer
	Sidecar   *testenv.Sidecar
	Legacy    *accelerate.Legacy
	Session   accelerate.Session
	URL       string
}

// alone is a gateway of one replica.
type alone struct{ forwarded chan string }

func (alone) Name() string { return "10.0.0.7" }

// Forward knows one other replica.
func (a alone) Forward(w http.ResponseWriter, _ *http.Request, name string) error {
	if name != "10.0.0.8" {
		return errors.New("there is none")
	}
	w.WriteHeader(http.StatusTeapot)
	a.forwarded <- name
	return nil
}

// aLegacySite has four server connections.
func aLegacySite(t *testing.T, args ...string) *legacySite {
	t.Helper()
	s := &legacySite{
		Postgres: testenv.Postgres(t, map[string]string{"max_connections": "30"}),
		Sidecar:  testenv.AccelerateLegacy(t, append([]string{"--shutdown-seconds=1"}, args...)...),
		Session: accelerate.Session{
			Pool:   edge.Pool{Namespace: "web", Name: "shop", Label: "shop-web", MaxConcurrency: 1000},
			Login:  edge.Login{User: "app", Password: legacyPassword, Database: "shop"},
			Caller: netip.MustParseAddr("192.0.2.1"),
		},
	}
	s.Postgres.Exec(t, "create role owner login password 'server'", "create database shop owner owner")
	certificate := testenv.NewCertificate(t, "127.0.0.1")
	s.PgBouncer = testenv.PgBouncer(t, pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server:               pgbouncer.Server{Host: s.Postgres.Host, Port: s.Postgres.Port, User: "owner", Password: "server", TLSMode: "disable"},
			Databases:            []pgbouncer.Database{{Name: "shop", Database: "shop"}},
			Mode:                 pgbouncer.ModeTransaction,
			Users:                []pgbouncer.User{{Name: "app", Password: legacyPassword}, {Name: "other", Password: otherPassword}},
			MaxClientConnections: 100,
			ClientTLS:            pgbouncer.ClientTLS{Mode: "require", Certificate: string(certificate.Certificate), Key: string(certificate.Key)},
		},
		Limits: pgbouncer.Limits{"shop": 4},
	})
	s.Session.Pool.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.PgBouncer.Port)))
	s.Session.Pool.TLS, s.Session.Pool.Authority = true, string(certificate.CA)
	owner := s.Postgres.Connect(t, "owner", "server", "shop")
	for _, table := range legacyTables {
		if _, err := owner.Exec(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	s.serve(t)
	return s
}

// serve starts the gateway's part before the sidecar.
func (s *legacySite) serve(t *testing.T) {
	t.Helper()
	directory := &edge.Directory{Domain: legacyDomain}
	directory.Replace(map[string]edge.Pool{s.Session.Pool.Label: s.Session.Pool})
	connections := &edge.Connections{Directory: directory, Door: &edge.Door{Timeout: time.Minute}, Limits: edge.DefaultKeptLimits}
	limits := edge.HTTPLimits{RequestBytes: 1 << 20, ResultBytes: 1 << 20, Timeout: time.Minute}
	s.Legacy = accelerate.NewLegacy(s.Sidecar.Socket, connections, &edge.Limiter{}, alone{make(chan string, 1)}, limits)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Legacy.Serve(w, r, s.Session) }))
	t.Cleanup(func() { server.Close(); connections.Close() })
	s.URL = server.URL
}

// legacyBase is what every path of a client of a version begins with.
func legacyBase(version, schema string) string {
	sum := sha256.Sum256([]byte(base64.StdEncoding.EncodeToString([]byte(schema))))
	return "/" + version + "/" + hex.EncodeToString(sum[:]) + "/"
}

var legacyPath = legacyBase("6.19.3", legacySchema)

// legacyAnswer is what a client reads.
type legacyAnswer struct {
	Status int
	Header http.Header
	Body   string
}

func (s *legacySite) send(t *testing.T, method, path, body string) legacyAnswer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop-web." + legacyDomain
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return legacyAnswer{response.StatusCode, response.Header, strings.TrimSpace(string(text))}
}

func (s *legacySite) post(t *testing.T, action, body string) legacyAnswer {
	t.Helper()
	return s.send(t, http.MethodPost, legacyPath+action, body)
}

// upload sends a schema as Prisma's client does.
func (s *legacySite) upload(t *testing.T) {
	t.Helper()
	answer := s.send(t, http.MethodPut, legacyPath+"schema", base64.StdEncoding.EncodeToString([]byte(legacySchema)))
	if answer.Status != http.StatusOK {
		t.Fatalf("uploading the schema: %d %s", answer.Status, answer.Body)
	}
}

// account is a query of Prisma's JSON protocol about the model Account.
func account(action, arguments string) string {
	if action == "deleteMany" || action == "updateMany" {
		return `{"modelName":"Account","action":"` + action + `","query":{"arguments":` + arguments + `,"selection":{"count":true}}}`
	}
	return `{"modelName":"Account","action":"` + action + `","query":{"arguments":` + arguments + `,"selection":{"$composites":true,"$scalars":true}}}`
}

func raw(sql string) string {
	text, err := json.Marshal(sql)
	if err != nil {
		panic(err) // Text is never refused.
	}
	return `{"action":"queryRaw","query":{"arguments":{"query":` + string(text) + `,"parameters":"[]"},"selection":{}}}`
}

// code is that of the one error in a result.
func code(t *testing.T, body string) string {
	t.Helper()
	var result struct {
		Errors []struct {
			UserFacing struct {
				Code string `json:"error_code"`
			} `json:"user_facing_error"`
		}
	}
	if err := json.Unmarshal([]byte(body), &result); err != nil || len(result.Errors) != 1 {
		t.Fatalf("it is no result with one error: %s", body)
	}
	return result.Errors[0].UserFacing.Code
}

// begin starts an interactive transaction, and returns the path of its endpoint.
func (s *legacySite) begin(t *testing.T, options string) string {
	t.Helper()
	answer := s.post(t, "transaction/start", options)
	var started struct {
		ID    string
		Proxy struct{ Endpoint string } `json:"data-proxy"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &started); err != nil || answer.Status != http.StatusOK {
		t.Fatalf("starting a transaction: %d %s", answer.Status, answer.Body)
	}
	path, found := strings.CutPrefix(started.Proxy.Endpoint, "https://shop-web."+legacyDomain)
	if !found || path != legacyPath+"itx/10.0.0.7-"+started.ID {
		t.Fatalf("its endpoint is %s", started.Proxy.Endpoint)
	}
	return path
}

// inTransaction counts the server's sessions that are idle in one.
func (s *legacySite) inTransaction(t *testing.T) string {
	t.Helper()
	return s.Postgres.Ask(t, "select count(*) from pg_stat_activity where state like 'idle in transaction%'")
}

// direct asks the sidecar itself, which believes what it is told of the pool.
func (s *legacySite) direct(t *testing.T, session map[string]any, method, action, body string) legacyAnswer {
	t.Helper()
	header, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://sidecar"+legacyPath+action, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Poolfleet-Session", base64.StdEncoding.EncodeToString(header))
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.Sidecar.Socket)
	}}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return legacyAnswer{response.StatusCode, response.Header, string(text)}
}

// anImpostor asks who connects for the password in plain text, and tells what it heard.
func anImpostor(t *testing.T) (port int, heard <-chan string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	words := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		startup := make([]byte, 1024)
		_, _ = conn.Read(startup)
		_, _ = conn.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 3}) // AuthenticationCleartextPassword.
		rest, _ := io.ReadAll(conn)
		words <- string(rest)
	}()
	return int(netip.MustParseAddrPort(listener.Addr().String()).Port()), words
}

// legacyEventually waits until something holds.
func legacyEventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to hold that %s", what)
		}
	}
}
