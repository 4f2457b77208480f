// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const visitorsPassword = "word of the visitor"

// aPooledServer is a PgBouncer that asks for TLS and has one server connection.
func aPooledServer(t *testing.T, certificate testenv.Certificate) *testenv.PgBouncerServer {
	t.Helper()
	server := testenv.Postgres(t, nil)
	server.Exec(t, "create role app login password 'word of the server'")
	server.Exec(t, "create database shop owner app")
	return testenv.PgBouncer(t, pgbouncer.Rendering{Limits: pgbouncer.Limits{"shop": 1}, Config: pgbouncer.Config{
		Server:               pgbouncer.Server{Host: "127.0.0.1", Port: server.Port, User: "app", Password: "word of the server", TLSMode: "disable"},
		Mode:                 pgbouncer.ModeTransaction,
		Databases:            []pgbouncer.Database{{Name: "shop", Database: "shop"}},
		Users:                []pgbouncer.User{{Name: "visitor", Password: visitorsPassword}},
		MaxClientConnections: 10,
		ClientTLS:            pgbouncer.ClientTLS{Mode: "require", Certificate: string(certificate.Certificate), Key: string(certificate.Key)},
	}})
}

func aVisitor(certificate testenv.Certificate) login {
	return login{Source: postgres.Source{
		Host: "shop-pool.demo.svc", User: "visitor", Password: visitorsPassword, Database: "shop", TLSMode: sslVerifyFull, CA: string(certificate.CA),
	}}
}

func TestDoctorNamesWhatKeepsAClientOutOfAPooler(t *testing.T) {
	authority := testenv.NewAuthority(t)
	certificate := authority.Issue(t, "shop-pool.demo.svc")
	server := aPooledServer(t, certificate)
	for _, c := range []struct {
		why, step, words string
		edit             func(*login)
	}{
		{"nothing", "", "", func(*login) {}},
		{"another authority", "tls", "certificate signed by unknown authority", func(l *login) { l.CA = string(testenv.NewAuthority(t).CA) }},
		{"a certificate for another name", "tls", "not other.demo.svc", func(l *login) { l.Host = "other.demo.svc" }},
		{"a client without TLS", "login", "SSL required", func(l *login) { l.TLSMode = sslDisable }},
		{"a password that was changed by hand", "login", "SASL authentication failed", func(l *login) { l.Password = "another" }},
		{"a user that is not there", "login", "no authentication method is found", func(l *login) { l.User = "nobody" }},
		{"a database that is not there", "login", "no such database", func(l *login) { l.Database = "none" }},
	} {
		t.Run(c.why, func(t *testing.T) {
			to := aVisitor(certificate)
			c.edit(&to)
			step, f := examined(t, to, server.Port, visitTime)
			if step != c.step || !strings.Contains(f.Says, c.words) || strings.Contains(f.Says, visitorsPassword) {
				t.Errorf("the fault is at %q: %s", step, f.Says)
			}
		})
	}
	t.Run("no server connection", func(t *testing.T) {
		to := aVisitor(certificate)
		holder, err := connect(t.Context(), to, server.Port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = holder.Close(context.Background()) }()
		if _, err := holder.Exec(t.Context(), "begin").ReadAll(); err != nil {
			t.Fatal(err)
		}
		if step, f := examined(t, to, server.Port, time.Second); step != "query" || !strings.Contains(f.Says, "no server connection") {
			t.Errorf("the fault is at %q: %s", step, f.Says)
		}
	})
}

// examined is the first fault that a visit shows, and the step it is at.
func examined(t *testing.T, to login, port uint16, patience time.Duration) (string, finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := visit{pod: "shop-pool-1"}
	v.pay(ctx, to, port)
	x := &examination{pool: &poolv1.ConnectionPool{}, visits: []visit{v}}
	for _, step := range []struct {
		name string
		do   func() finding
	}{
		{"tls", func() finding { return x.handshakes(to) }},
		{"login", func() finding { return x.login(ctx) }},
		{"query", func() finding { return x.query(ctx) }},
	} {
		if f := step.do(); f.Result == stepFault {
			return step.name, f
		}
	}
	return "", finding{}
}
