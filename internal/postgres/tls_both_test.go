// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// encounter is every kind of server, and every way to it.
type encounter struct {
	servers map[string]*testenv.PostgresServer
	ways    map[string]TLS
	// public is the authority that stands for those of public sites.
	public *signer
}

const clientRequired = "hostssl all app 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"

func anEncounter(t *testing.T) encounter {
	t.Helper()
	ours, public, strange := issue(t, nil, authority), issue(t, nil, authority), issue(t, nil, authority)
	middle := issue(t, ours, authority)
	alone := issue(t, nil, forLoopback)
	named := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName = name }
	}
	shows := func(leaf *signer, chain ...*signer) testenv.PostgresOption {
		return testenv.WithCertificate(leaf.shown(t, ours, chain...))
	}
	e := encounter{public: public, servers: map[string]*testenv.PostgresServer{}}
	for name, options := range map[string][]testenv.PostgresOption{
		"plain": nil,
		"ours":  {shows(issue(t, ours, forLoopback))},
		"other name": {shows(issue(t, ours, func(c *x509.Certificate) {
			c.DNSNames = []string{"other.example.com"}
		}))},
		"common name": {shows(issue(t, ours, named("127.0.0.1")))},
		"both names":  {shows(issue(t, ours, func(c *x509.Certificate) { named("127.0.0.1")(c); c.DNSNames = []string{"other.example.com"} }))},
		"expired":     {shows(issue(t, ours, func(c *x509.Certificate) { forLoopback(c); c.NotAfter = time.Now().Add(-time.Hour) }))},
		"asks client": {shows(issue(t, ours, forLoopback)), testenv.WithHBA(clientRequired)},
		"public":      {shows(issue(t, public, forLoopback))},
		"chain":       {shows(issue(t, middle, forLoopback), middle)},
		"short chain": {shows(issue(t, middle, forLoopback))},
		"self-signed": {shows(alone)},
		"for clients": {shows(issue(t, ours, func(c *x509.Certificate) {
			forLoopback(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}))},
		"no TLS by us": {shows(issue(t, ours, forLoopback)), testenv.WithHBA("hostnossl all app 127.0.0.1/32 scram-sha-256")},
	} {
		e.servers[name] = aServer(t, nil, options...)
	}
	client, stranger := issue(t, ours, nil), issue(t, strange, nil)
	e.ways = map[string]TLS{
		"disable": {Mode: tlsDisable}, "allow": {Mode: tlsAllow}, "prefer": {Mode: tlsPrefer}, "require": {Mode: tlsRequire},
		"verify-ca": {CA: ours.pem(), Mode: tlsVerifyCA}, "verify-full": {CA: ours.pem()},
		"system, verify-ca": {Mode: tlsVerifyCA}, "system, verify-full": {Mode: tlsVerifyFull},
		"strange authority": {CA: strange.pem()}, "both authorities": {CA: strange.pem() + ours.pem()},
		"the middle": {CA: middle.pem()}, "the leaf": {CA: alone.pem()},
		"client, require":     {Mode: tlsRequire, Certificate: client.pem(), Key: client.keyPEM(t)},
		"client, verify-full": {CA: ours.pem(), Certificate: client.pem(), Key: client.keyPEM(t)},
		"client, prefer":      {Mode: tlsPrefer, Certificate: client.pem(), Key: client.keyPEM(t)},
		"strange client":      {Mode: tlsRequire, Certificate: stranger.pem(), Key: stranger.keyPEM(t)},
	}
	return e
}

// accepted are the servers that each way leads to.
var accepted = map[string]string{
	"disable":             "plain, ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients, no TLS by us",
	"allow":               "plain, ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients",
	"prefer":              "plain, ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients",
	"require":             "ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients",
	"verify-ca":           "ours, other name, common name, both names, chain",
	"verify-full":         "ours, common name, both names, chain",
	"system, verify-ca":   "public",
	"system, verify-full": "public",
	"strange authority":   "",
	"both authorities":    "ours, common name, both names, chain",
	"the middle":          "",
	"the leaf":            "self-signed",
	"client, require":     "ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients, asks client",
	"client, verify-full": "ours, common name, both names, chain, asks client",
	"client, prefer":      "plain, ours, other name, common name, both names, expired, public, chain, short chain, self-signed, for clients, asks client",
	"strange client":      "",
}

// saysOf are words in what a look says of some that it can not reach.
var saysOf = map[string]string{
	"strange client to ours":          "does not accept the client certificate",
	"require to asks client":          "clientCertSecretRef",
	"require to plain":                "does not speak TLS",
	"verify-full to other name":       "another name",
	"verify-full to expired":          "expired",
	"system, verify-full to ours":     "caSecretRef",
	"the middle to chain":             "up to its root",
	"strange authority to ours":       "caSecretRef",
	"verify-full to for clients":      "not valid",
	"client, require to no TLS by us": "pg_hba.conf",
	"disable to asks client":          "insists on TLS",
	"client, verify-full to plain":    "does not speak TLS",
}

// What the operator's look says of a server must be what poolers find there.
func TestTheLookAndPgBouncerAgreeOnEveryModeAndEveryServer(t *testing.T) {
	t.Parallel()
	e := anEncounter(t)
	roots := x509.NewCertPool()
	roots.AddCert(e.public.certificate)
	observer := NewObserver(Options{RootCAs: roots})
	pooler := aPooler(t, e)
	for way, tls := range e.ways {
		want := strings.Split(accepted[way], ", ")
		for name, server := range e.servers {
			source, err := at(server).WithTLS(tls)
			if err != nil {
				t.Fatal(err)
			}
			_, looked := observer.Observe(t.Context(), source)
			pooled := pooler.reaches(t, source)
			if ok := slices.Contains(want, name); (looked == nil) != ok || (pooled == nil) != ok {
				t.Errorf("%s to the server %q: want %v\nlook: %v\nPgBouncer: %v", way, name, ok, looked, pooled)
			}
			if says := saysOf[way+" to "+name]; looked != nil && !strings.Contains(looked.Error(), says) {
				t.Errorf("%s to the server %q: the look says %q, want %q in it (%v)", way, name, looked, says, errors.Unwrap(looked))
			}
		}
	}
}

// testPooler is one PgBouncer that is led to one server after another.
type testPooler struct {
	server *testenv.PgBouncerServer
	paths  pgbouncer.Paths
	turn   int
}

func aPooler(t *testing.T, e encounter) *testPooler {
	t.Helper()
	root := testenv.Rootfs(t, "pgbouncer")
	outside, inside := testenv.RunDir(t, root)
	writeReadable(t, outside+"/public.pem", e.public.pem())
	p := &testPooler{paths: pgbouncer.Paths{CAFile: inside + "/public.pem"}}
	p.server = testenv.PgBouncer(t, p.rendering(at(slices.Collect(maps.Values(e.servers))[0])))
	return p
}

// rendering has a database of its own each time: what PgBouncer knows of one that
// could not be reached does not bear on the next.
func (p *testPooler) rendering(source Source) pgbouncer.Rendering {
	name := fmt.Sprintf("turn%d", p.turn)
	return pgbouncer.Rendering{
		Config: pgbouncer.Config{
			Server: pgbouncer.Server{
				Host: source.Host, Port: source.Port, User: source.User, Password: source.Password,
				TLSMode: source.TLSMode, CA: source.CA, Certificate: source.Certificate, Key: source.Key,
			},
			Databases: []pgbouncer.Database{{Name: name, Database: source.Database}}, Mode: pgbouncer.ModeTransaction,
			Users: []pgbouncer.User{{Name: "client", Password: "of the test"}}, MaxClientConnections: 100,
		},
		Limits: pgbouncer.Limits{name: 1}, Paths: p.paths,
	}
}

// reaches returns why a client does not get an answer from the source's server.
func (p *testPooler) reaches(t *testing.T, source Source) error {
	t.Helper()
	p.turn++
	p.server.Write(t, p.rendering(source))
	// Else a server connection that is closed leaves no word.
	if err := errors.Join(p.server.Admin.Reload(t.Context()), p.server.Admin.Set(t.Context(), "log_disconnections", "1")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go p.giveUp(ctx, cancel, fmt.Sprintf(": turn%d/", p.turn))
	config, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=client password='of the test' dbname=turn%d sslmode=disable", p.server.Port, p.turn))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		defer func() { _ = conn.Close(context.Background()) }()
		_, err = conn.Exec(ctx, "select 1", pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// giveUp ends the wait of a client as soon as PgBouncer says that it does not get
// through to the server of a database.
func (p *testPooler) giveUp(ctx context.Context, cancel context.CancelCauseFunc, database string) {
	for ctx.Err() == nil {
		for line := range strings.Lines(p.server.Log()) {
			if strings.Contains(line, " S-") && strings.Contains(line, database) && strings.Contains(line, "closing because") {
				cancel(fmt.Errorf("PgBouncer: %s", line))
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}
