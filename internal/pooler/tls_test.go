// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// shows makes clients see a certificate.
func shows(cfg *pgbouncer.Config, mode string, c testenv.Certificate) {
	cfg.ClientTLS = pgbouncer.ClientTLS{Mode: mode, Certificate: string(c.Certificate), Key: string(c.Key)}
}

// trusting is a client that verifies PgBouncer's certificate, name and all.
func trusting(ca []byte, change ...func(*tls.Config)) func(*pgx.ConnConfig) {
	return func(c *pgx.ConnConfig) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		c.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "pool.test", MinVersion: tls.VersionTLS12}
		for _, f := range change {
			f(c.TLSConfig)
		}
	}
}

// handshake is the state of a client's TLS.
func handshake(t *testing.T, conn *pgx.Conn) tls.ConnectionState {
	t.Helper()
	encrypted, ok := conn.PgConn().Conn().(*tls.Conn)
	if !ok {
		t.Fatal("the connection is not encrypted")
	}
	return encrypted.ConnectionState()
}

func TestClientsAreEncryptedAsTheModeSays(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	authority := testenv.NewAuthority(t)
	certificate, clients := authority.Issue(t, "pool.test"), testenv.NewAuthority(t)
	p := aPod(t).start()
	pair := func(a *testenv.Authority) func(*tls.Config) {
		c := a.Issue(t, "client")
		own, err := tls.X509KeyPair(c.Certificate, c.Key)
		if err != nil {
			t.Fatal(err)
		}
		return func(cfg *tls.Config) { cfg.Certificates = []tls.Certificate{own} }
	}
	plain := func(*pgx.ConnConfig) {}
	encrypted, withOwn := trusting(authority.CA), trusting(authority.CA, pair(clients))
	withForeign := trusting(authority.CA, pair(testenv.NewAuthority(t)))
	gen := int64(0)
	for _, c := range []struct {
		mode                            string
		plain, encrypted, own, foreigns bool
	}{
		{"disable", true, false, false, false},
		{"allow", true, true, true, true},
		{"prefer", true, true, true, true},
		{"require", false, true, true, true},
		{"verify-ca", false, false, true, false},
		{"verify-full", false, false, true, false},
	} {
		cfg := aConfig(server)
		shows(&cfg, c.mode, certificate)
		if strings.HasPrefix(c.mode, "verify-") {
			cfg.ClientTLS.CA = string(clients.CA)
		}
		gen++
		p.grant(gen, 4, p.config(cfg))
		p.runs(gen, 4)
		for name, try := range map[string]struct {
			client func(*pgx.ConnConfig)
			want   bool
		}{
			"plain": {plain, c.plain}, "encrypted": {encrypted, c.encrypted},
			"with a certificate": {withOwn, c.own}, "with a foreign certificate": {withForeign, c.foreigns},
		} {
			conn, err := p.client("shop", try.client)
			if err == nil {
				_, err = conn.Exec(t.Context(), "select 1")
			}
			if (err == nil) != try.want {
				t.Errorf("mode %s, a client %s: %v", c.mode, name, err)
			}
		}
	}
	if p.starts() != 1 {
		t.Errorf("PgBouncer was started %d times", p.starts())
	}
}

func TestClientsMayBeginWithTLSAndNeedAVersionOfToday(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	certificate := testenv.NewCertificate(t, "pool.test")
	p := aPod(t).start()
	cfg := aConfig(server)
	shows(&cfg, "require", certificate)
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		_, err := p.client("shop", trusting(certificate.CA, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }))
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	conn, err := p.client("shop", trusting(certificate.CA), func(c *pgx.ConnConfig) {
		c.SSLNegotiation, c.TLSConfig.NextProtos = "direct", []string{"postgresql"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := handshake(t, conn).NegotiatedProtocol; got != "postgresql" {
		t.Errorf("the protocol agreed on is %q", got)
	}
}

// material are the files of TLS in the pod's RunDir.
func (p *pod) material() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.options.RunDir, pgbouncer.TLSFiles))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			p.t.Fatal(err)
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode() != 0o600 || !ok || owner.Uid != testenv.UserID {
			p.t.Errorf("%s has mode %s and owner %+v", file, info.Mode(), owner)
		}
	}
	return files
}

// pids are the server's connections by the role app.
func pids(t *testing.T, server *testenv.PostgresServer) map[uint32]bool {
	t.Helper()
	pids := map[uint32]bool{}
	for _, backend := range server.Backends(t) {
		pids[backend.PID] = true
	}
	return pids
}

func TestARenewedCertificateIsShownToNewClientsAndCutsNobody(t *testing.T) {
	server := testenv.Postgres(t, nil, testenv.WithTLS())
	prepare(t, server)
	authority := testenv.NewAuthority(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.Server.TLSMode, cfg.Server.CA = "verify-full", string(server.CA)
	cfg.MaxClientConnections = 77
	shows(&cfg, "require", authority.Issue(t, "pool.test"))
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	p.as = trusting(authority.CA)
	clients := p.load(12, "select pg_sleep(0.002)", "shop")
	eventually(t, "all server connections are there", func() bool { return len(pids(t, server)) == 4 })
	before := pids(t, server)
	for gen := int64(2); gen < 6; gen++ {
		renewed := authority.Issue(t, "pool.test")
		shows(&cfg, "require", renewed)
		p.grant(gen, 4, p.config(cfg))
		p.runs(gen, 4)
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: handshake(t, conn).PeerCertificates[0].Raw})
		if !bytes.Equal(shown, renewed.Certificate) {
			t.Error("a new client sees another certificate than the renewed one")
		}
	}
	clients.end(t)
	if diff := cmp.Diff(before, pids(t, server)); diff != "" {
		t.Errorf("server connections (-before +after):\n%s", diff)
	}
	if files := p.material(); len(files) != 3 {
		t.Errorf("there are %v, want the newest certificate and key, and the server's authority", files)
	}
}

// TestAnotherAuthorityAndIdentityTowardsTheServerCutNobody goes the way that people
// go who must not stop: both authorities are trusted for a while, on both sides.
func TestAnotherAuthorityAndIdentityTowardsTheServerCutNobody(t *testing.T) {
	server := testenv.Postgres(t, nil, testenv.WithTLS(), testenv.WithHBA("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"))
	prepare(t, server)
	old, next := testenv.NewAuthority(t), testenv.NewAuthority(t)
	oldCA, bothCAs, nextCA := string(old.CA), string(old.CA)+string(next.CA), string(next.CA)
	server.Certify(t, old.Issue(t, "127.0.0.1"), bothCAs)
	p := aPod(t).start()
	cfg := aConfig(server)
	identify := func(ca string, c testenv.Certificate) {
		cfg.Server.TLSMode, cfg.Server.CA = "verify-full", ca
		cfg.Server.Certificate, cfg.Server.Key = string(c.Certificate), string(c.Key)
	}
	identify(oldCA, old.Issue(t, "pooler of old"))
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	clients := p.load(12, "select pg_sleep(0.002)", "shop")
	gen := int64(1)
	replaced := func() {
		t.Helper()
		before := pids(t, server)
		gen++
		p.grant(gen, 4, p.config(cfg))
		p.runs(gen, 4)
		eventually(t, "no connection is left that was made before", func() bool {
			for pid := range pids(t, server) {
				if before[pid] {
					return false
				}
			}
			return true
		})
	}
	identify(bothCAs, next.Issue(t, "pooler of next"))
	replaced()
	server.Certify(t, next.Issue(t, "127.0.0.1"), nextCA)
	identify(nextCA, next.Issue(t, "renewed pooler of next"))
	replaced()
	eventually(t, "all connections are back", func() bool { return len(pids(t, server)) == 4 })
	clients.end(t)
	if got := server.Ask(t, "select string_agg(distinct client_dn, ' and ') from pg_stat_ssl where client_dn is not null"); got != "/CN=renewed pooler of next" {
		t.Errorf("the server was shown the certificate of %s", got)
	}
	if p.starts() != 1 {
		t.Errorf("PgBouncer was started %d times", p.starts())
	}
}

func TestCertificatesThatOpenSSLRefusesLeaveTheLastGoodOnes(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	authority := testenv.NewAuthority(t)
	p := aPod(t).start()
	good := aConfig(server)
	shows(&good, "require", authority.Issue(t, "pool.test"))
	goodRevision := p.config(good)
	p.grant(1, 4, goodRevision)
	p.runs(1, 4)
	before := p.material()
	bad := aConfig(server)
	shows(&bad, "require", authority.Issue(t, "pool.test"))
	bad.ClientTLS.Key = strings.ReplaceAll(bad.ClientTLS.Key, "PRIVATE KEY", "STRANGE PRIVATE KEY") // Go reads it.
	p.grant(2, 3, p.config(bad))
	works := func() {
		t.Helper()
		s := p.await("PgBouncer's own words tell why", func(s contract.Status) bool {
			return s.Gen == 2 && s.Cap == 3 && strings.Contains(s.Problem, "failed to load private key")
		})
		if s.Config != goodRevision {
			t.Errorf("configuration %s is in force, want the last good one, %s", s.Config, goodRevision)
		}
		eventually(t, "the files are those of the last good one", func() bool { return slices.Equal(before, p.material()) })
		if _, err := p.client("shop", trusting(authority.CA)); err != nil {
			t.Errorf("a client of the last good one: %v", err)
		}
	}
	works()
	for line := range strings.Lines(bad.ClientTLS.Key + good.ClientTLS.Key) {
		if line = strings.TrimSpace(line); len(line) > 10 && !strings.HasPrefix(line, "-----") && strings.Contains(p.log.String(), line) {
			t.Error("a key is in the log")
		}
	}
	p.kill() // The container is restarted.
	p.start()
	works()
	better := aConfig(server)
	shows(&better, "require", authority.Issue(t, "pool.test"))
	p.grant(3, 4, p.config(better))
	p.await("a good one is taken", func(s contract.Status) bool { return s.Gen == 3 && s.Cap == 4 && s.Problem == "" })
	if after := p.material(); len(after) != 2 || slices.Equal(after, before) {
		t.Errorf("files before %v, after %v", before, after)
	}
}
