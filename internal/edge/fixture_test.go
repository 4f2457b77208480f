// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	domain         = "edge.test"
	clientPassword = "s3cret/of the:client@100%"
	serverPassword = "s3cret'of the server"
	// patience is for a busy machine; nothing waits for it when all is well.
	patience = time.Minute
)

// A site is a PostgreSQL, the PgBouncer before it, and the Directory that has it as a
// pool. What runs ends with the test.
type site struct {
	Postgres  *testenv.PostgresServer
	PgBouncer *testenv.PgBouncerServer
	// Rendering is what PgBouncer runs; see rewrite.
	Rendering pgbouncer.Rendering
	Pool      edge.Pool
	Directory *edge.Directory
	// Login is accepted. Its database is the role owner's at the server.
	Login edge.Login
}

// aSite has eight server connections, in transaction mode, without TLS. Options change
// what PgBouncer and the pool start with.
func aSite(t testing.TB, options ...func(testing.TB, *site)) *site {
	t.Helper()
	s := &site{
		Postgres:  testenv.Postgres(t, map[string]string{"max_connections": "50"}),
		Pool:      edge.Pool{Namespace: "web", Name: "shop", Label: "shop-web", MaxConcurrency: 1000},
		Directory: &edge.Directory{Domain: domain},
		Login:     edge.Login{User: "app", Password: clientPassword, Database: "shop"},
	}
	s.Postgres.Exec(t, "create role owner login password '"+doubled(serverPassword)+"'", "create database shop owner owner")
	s.Rendering = pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server:               pgbouncer.Server{Host: s.Postgres.Host, Port: s.Postgres.Port, User: "owner", Password: serverPassword, TLSMode: "disable"},
			Databases:            []pgbouncer.Database{{Name: "shop", Database: "shop"}},
			Mode:                 pgbouncer.ModeTransaction,
			Users:                []pgbouncer.User{{Name: s.Login.User, Password: s.Login.Password}},
			MaxClientConnections: 1000,
		},
		Limits: pgbouncer.Limits{"shop": 8},
	}
	for _, option := range options {
		option(t, s)
	}
	s.PgBouncer = testenv.PgBouncer(t, s.Rendering)
	s.Pool.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.PgBouncer.Port)))
	s.list()
	return s
}

// encrypted makes PgBouncer take clients with TLS alone, and the pool verify it.
func encrypted(t testing.TB, s *site) {
	t.Helper()
	certificate := testenv.NewCertificate(t, "127.0.0.1")
	s.Rendering.Config.ClientTLS = pgbouncer.ClientTLS{Mode: "require", Certificate: string(certificate.Certificate), Key: string(certificate.Key)}
	s.Pool.TLS, s.Pool.Authority = true, string(certificate.CA)
}

// inSessionMode makes every client have a server connection of its own.
func inSessionMode(_ testing.TB, s *site) {
	s.Rendering.Config.Mode, s.Pool.Session = pgbouncer.ModeSession, true
}

// withBackends bounds the server connections.
func withBackends(n int32) func(testing.TB, *site) {
	return func(_ testing.TB, s *site) { s.Rendering.Limits["shop"] = n }
}

// list makes Pool the only one of the Directory.
func (s *site) list() { s.Directory.Replace(map[string]edge.Pool{s.Pool.Label: s.Pool}) }

// rewrite makes PgBouncer run what Rendering says now.
func (s *site) rewrite(t testing.TB) {
	t.Helper()
	s.PgBouncer.Write(t, s.Rendering)
	if err := s.PgBouncer.Admin.Reload(t.Context()); err != nil {
		t.Fatalf("reloading PgBouncer: %v", err)
	}
}

// host is the pool's under the gateway's domain.
func (s *site) host() string { return s.Pool.Label + "." + domain }

// url is the connection string that a driver is given.
func (s *site) url() string {
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword(s.Login.User, s.Login.Password),
		Host: s.host(), Path: "/" + s.Login.Database, RawQuery: "sslmode=require",
	}
	return u.String()
}

// backends counts the pool's connections at the server.
func (s *site) backends(t testing.TB) int {
	t.Helper()
	n := 0
	for _, backend := range s.Postgres.Backends(t) {
		if backend.User == "owner" {
			n++
		}
	}
	return n
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

// doubled is what stands between the quotes of a literal.
func doubled(text string) string {
	var out []rune
	for _, r := range text {
		if r == '\'' {
			out = append(out, r)
		}
		out = append(out, r)
	}
	return string(out)
}
