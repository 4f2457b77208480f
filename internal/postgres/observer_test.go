// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const appPassword = "hunter2-of-app"

// aServer is a PostgreSQL with a plain role app and its database shop.
func aServer(t testing.TB, settings map[string]string, options ...testenv.PostgresOption) *testenv.PostgresServer {
	t.Helper()
	server := testenv.Postgres(t, settings, options...)
	server.Exec(t, `create role app login password '`+appPassword+`'`, `create database shop owner app`)
	return server
}

// at is the source that leads to a server, changed as asked.
func at(server *testenv.PostgresServer, changes ...func(*Source)) Source {
	return aSource(append([]func(*Source){func(s *Source) {
		s.Host, s.Port, s.Password, s.TLSMode = server.Host, server.Port, appPassword, tlsDisable
	}}, changes...)...)
}

func observe(t *testing.T, source Source, options ...Options) Observation {
	t.Helper()
	got, err := NewObserver(slices.Concat(options, []Options{{}})[0]).Observe(t.Context(), source)
	if err != nil {
		t.Fatalf("looking at the server: %v: %v", err, errors.Unwrap(err))
	}
	return got
}

// requireReason fails unless a look at the source ends with the reason, and
// without the password in any of the error's causes.
func requireReason(t *testing.T, source Source, want Reason, says string, options ...Options) {
	t.Helper()
	_, err := NewObserver(slices.Concat(options, []Options{{}})[0]).Observe(t.Context(), source)
	got, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error with reason %s", err, want)
	}
	if got.Reason != want || !strings.Contains(got.Message, says) {
		t.Errorf("got %s: %s\n(%v)\nwant %s, and %q in it", got.Reason, got.Message, got.Err, want, says)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if text := fmt.Sprintf("%v %+v %#v", cause, cause, cause); source.Password != "" && strings.Contains(text, source.Password) {
			t.Errorf("an error holds the password: %s", text)
		}
	}
}

func TestObserveReadsWhatAPlainRoleMayRead(t *testing.T) {
	t.Parallel()
	server := aServer(t, map[string]string{"max_connections": "30", "superuser_reserved_connections": "2", "reserved_connections": "4"})
	server.Exec(t, `alter role app connection limit 7`, `alter database shop connection limit 9`)
	started := time.Now().Add(-time.Minute)
	for range 2 {
		server.Connect(t, "app", appPassword, "shop")
	}
	server.Superuser(t)

	got := observe(t, at(server))
	want := Observation{
		MaxConnections: 30, SuperuserReserved: 2, Reserved: 4, RoleLimit: new(int32(7)), DatabaseLimit: new(int32(9)),
		ServerAddress: server.Host, ServerPort: server.Port, BackendPIDMatches: true, InUse: 5, AdmissionChecked: true,
		Backends: []BackendCount{
			{"postgres", "postgres", "testenv", 2}, // One of them is the test's own eye.
			{"shop", "app", "poolfleet-probe", 1},
			{"shop", "app", "testenv", 2},
		},
	}
	if err := server.Superuser(t).QueryRow(t.Context(), `select oid from pg_roles where rolname = 'app'`).Scan(&want.RoleOID); err != nil {
		t.Fatal(err)
	}
	ignored := cmpopts.IgnoreFields(Observation{}, "Version", "VersionNum", "SystemIdentifier", "StartTime")
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Error(diff)
	}
	if got.VersionNum < 180000 || !strings.HasPrefix(got.Version, fmt.Sprint(got.VersionNum/10000)) {
		t.Errorf("version %q, %d", got.Version, got.VersionNum)
	}
	if len(got.SystemIdentifier) < 10 || got.StartTime.Before(started) || got.StartTime.After(time.Now()) {
		t.Errorf("identifier %q, start %v", got.SystemIdentifier, got.StartTime)
	}
}

func TestObserveKnowsASuperuserAndNoLimits(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	got := observe(t, at(server, func(s *Source) { s.User, s.Password = testenv.SuperuserName, testenv.SuperuserPassword }))
	if !got.Superuser || !got.CanReadAllStats || got.RoleLimit != nil || got.DatabaseLimit != nil || got.InRecovery {
		t.Errorf("got %+v", got)
	}
}

func TestNothingIsLeftAtTheServerAfterALook(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	for range 20 {
		observe(t, at(server))
		if left := server.Backends(t); len(left) != 0 {
			t.Fatalf("still there: %+v", left)
		}
	}
}

func TestOneLookAtATimeForEachServer(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	server.Exec(t, `create database other owner app`, `alter role app connection limit 1`)
	observer := NewObserver(Options{})
	looks := make(chan error, 8)
	for i := range cap(looks) {
		go func() {
			_, err := observer.Observe(t.Context(), at(server, func(s *Source) { s.Database = []string{"shop", "other"}[i%2] }))
			looks <- err
		}()
	}
	for range cap(looks) {
		if err := <-looks; err != nil { // Two at a time would exceed the role's limit.
			t.Error(err)
		}
	}
	if left := observer.turns.taken; len(left) != 0 {
		t.Errorf("the observer remembers %v", left)
	}
}

func TestAnEndedContextIsNoNewsOfTheServer(t *testing.T) {
	t.Parallel()
	observer := NewObserver(Options{})
	release, err := observer.turns.take(t.Context(), aSource().Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, source := range []Source{aSource(), aSource(func(s *Source) { s.Host, s.Port = "127.0.0.1", 1 })} {
		_, err := observer.Observe(ctx, source)
		if _, news := errors.AsType[*Error](err); news || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error alone", err)
		}
	}
}

func TestObserveSaysWhyItCouldNot(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil, testenv.WithHBA("host all barred 127.0.0.1/32 reject", "host all all 127.0.0.1/32 scram-sha-256"))
	server.Exec(t, `create role barred login password '`+appPassword+`'`, `create database closed allow_connections false`,
		`create database private`, `revoke connect on database private from public`)
	user := func(name string) func(*Source) { return func(s *Source) { s.User = name } }
	database := func(name string) func(*Source) { return func(s *Source) { s.Database = name } }
	free := testenv.FreePort(t)
	tests := map[string]struct {
		source Source
		reason Reason
		says   string
	}{
		"a closed port":             {at(server, func(s *Source) { s.Port = free }), Unreachable, fmt.Sprintf("127.0.0.1:%d", free)},
		"an unknown host":           {at(server, func(s *Source) { s.Host = "db.invalid" }), HostUnknown, "db.invalid"},
		"a wrong password":          {at(server, func(s *Source) { s.Password = "wrong-secret" }), AuthenticationFailed, "refused"},
		"an unknown user":           {at(server, user("nobody")), AuthenticationFailed, "refused"},
		"a user that hba rejects":   {at(server, user("barred")), AuthenticationFailed, "pg_hba.conf"},
		"a missing database":        {at(server, database("gone")), DatabaseMissing, "no database gone"},
		"a closed database":         {at(server, database("closed")), DatabaseMissing, "takes no connections"},
		"a database of others":      {at(server, database("private")), AuthenticationFailed, "GRANT CONNECT"},
		"no TLS where it is needed": {at(server, func(s *Source) { s.TLSMode = tlsRequire }), TLSFailed, "does not speak TLS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireReason(t, test.source, test.reason, test.says)
		})
	}
}

func TestTLSModesCheckWhatTheyPromise(t *testing.T) {
	t.Parallel()
	server := aServer(t, map[string]string{"listen_addresses": "127.0.0.1,127.0.0.2"}, testenv.WithTLS(), testenv.WithHBA("hostssl all app 127.0.0.1/32 scram-sha-256"))
	ours := x509.NewCertPool()
	ours.AppendCertsFromPEM(server.CA)
	trusting, other := Options{RootCAs: ours}, Options{RootCAs: x509.NewCertPool()}
	mode := func(mode string) Source { return at(server, func(s *Source) { s.TLSMode = mode }) }

	for _, accepted := range []string{tlsAllow, tlsPrefer, tlsRequire} {
		observe(t, mode(accepted), other)
	}
	observe(t, mode(tlsVerifyCA), trusting)
	observe(t, mode(tlsVerifyFull), trusting)
	requireReason(t, mode(tlsDisable), AuthenticationFailed, "insists on TLS")
	requireReason(t, mode(tlsVerifyCA), TLSFailed, "not trusted")
	requireReason(t, mode(tlsVerifyCA), TLSFailed, "not trusted", other)
	requireReason(t, mode(tlsVerifyFull), TLSFailed, "not trusted", other)

	byAnotherName := mode(tlsVerifyFull)
	byAnotherName.Host = "127.0.0.2"
	requireReason(t, byAnotherName, TLSFailed, "another name", trusting)
	byAnotherName.TLSMode = tlsVerifyCA
	observe(t, byAnotherName, trusting)
}

func TestPreferGoesOnWithoutTLS(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	for _, mode := range []string{tlsAllow, tlsPrefer} {
		observe(t, at(server, func(s *Source) { s.TLSMode = mode }))
	}
	requireReason(t, at(server, func(s *Source) { s.TLSMode, s.Password = tlsPrefer, "wrong-secret" }), AuthenticationFailed, "refused")
}

func TestOnlyAllowedAddressesAreDialled(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	prefixes := func(texts ...string) (options Options) {
		for _, text := range texts {
			options.AllowedCIDRs = append(options.AllowedCIDRs, netip.MustParsePrefix(text))
		}
		return options
	}
	byName := at(server, func(s *Source) { s.Host = localhost })
	observe(t, at(server), prefixes("10.0.0.0/8", "127.0.0.0/8"))
	observe(t, byName, prefixes("127.0.0.1/32", "::1/128"))
	requireReason(t, at(server), AddressForbidden, "--allowed-upstream-cidrs", prefixes("10.0.0.0/8"))
	requireReason(t, byName, AddressForbidden, "--allowed-upstream-cidrs", prefixes("10.0.0.0/8", "fd00::/8"))
	requireReason(t, at(server, func(s *Source) { s.Host = "::ffff:127.0.0.1" }), AddressForbidden, "", prefixes("::/0"))
}

func TestAPoolerInBetweenIsNoticed(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	pooler := testenv.PgBouncer(t, pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server:    pgbouncer.Server{Host: server.Host, Port: server.Port, User: "app", Password: appPassword, TLSMode: tlsDisable},
			Databases: []pgbouncer.Database{{Name: "shop", Database: "shop"}}, Mode: pgbouncer.ModeTransaction,
			Users: []pgbouncer.User{{Name: "app", Password: appPassword}}, MaxClientConnections: 10,
		},
		Limits: pgbouncer.Limits{"shop": 2},
	})
	got := observe(t, at(server, func(s *Source) { s.Port = pooler.Port }))
	if got.BackendPIDMatches {
		t.Error("a look through PgBouncer passes for a direct one")
	}
	if direct := observe(t, at(server)); !direct.BackendPIDMatches || !direct.Identity().Same(got.Identity()) {
		t.Errorf("directly: %+v, through PgBouncer: %+v", direct, got)
	}
	requireReason(t, at(server, func(s *Source) { s.Port, s.Password = pooler.Port, "wrong-secret" }), AuthenticationFailed, "a pooler")
	requireReason(t, at(server, func(s *Source) { s.Port, s.Database = pooler.Port, "gone" }), AuthenticationFailed, "a pooler")
}

// A Secret must not tell its owner what answers at an address but PostgreSQL.
func TestWhatIsNoPostgreSQLLooksLikeAClosedPort(t *testing.T) {
	t.Parallel()
	says := func(answer string) Source {
		listener := listen(t)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
			}
		}()
		endpoint := netip.MustParseAddrPort(listener.Addr().String())
		return aSource(func(s *Source) { s.Host, s.Port = "127.0.0.1", endpoint.Port() })
	}
	for _, answer := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x00\x01", "-ERR unknown command\r\n"} {
		for _, mode := range []string{tlsDisable, tlsPrefer, tlsRequire} {
			source := says(answer)
			source.TLSMode = mode
			requireReason(t, source, Unreachable, "no PostgreSQL answers at "+source.Endpoint())
		}
	}
	broken := says("S")
	requireReason(t, broken, TLSFailed, "did not come about")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func BenchmarkObserve(b *testing.B) {
	server := aServer(b, nil)
	observer := NewObserver(Options{})
	for b.Loop() {
		if _, err := observer.Observe(b.Context(), at(server)); err != nil {
			b.Fatal(err)
		}
	}
}
