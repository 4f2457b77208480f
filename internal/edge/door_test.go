// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestTheDoorSaysWhatIsWrongWithALoginInPostgreSQLsWords(t *testing.T) {
	s := aSite(t)
	failed := 0
	door := edge.Door{Timeout: patience, Failed: func(edge.Pool) { failed++ }}
	for name, c := range map[string]struct {
		change  func(*edge.Login)
		code    string
		message string
	}{
		"wrong password":   {func(l *edge.Login) { l.Password = "guess" }, "28P01", `password authentication failed for user "app"`},
		"no password":      {func(l *edge.Login) { l.Password = "" }, "28P01", `password authentication failed for user "app"`},
		"unknown user":     {func(l *edge.Login) { l.User = "nobody" }, "28P01", `password authentication failed for user "nobody"`},
		"no such database": {func(l *edge.Login) { l.Database = "nothing" }, "3D000", "no such database: nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			login := s.Login
			c.change(&login)
			_, err := door.Enter(t.Context(), s.Pool, netip.MustParseAddr("192.0.2.1"), login)
			var refused *pgconn.PgError
			if !errors.As(err, &refused) || refused.Code != c.code || refused.Message != c.message {
				t.Errorf("it says %v", err)
			}
		})
	}
	if failed != 3 {
		t.Errorf("%d failed logins are counted", failed)
	}
}

func TestTheDoorSaysOfAPoolThatCanNotBeReachedNoMoreThanThat(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// It takes connections and never answers.
	t.Cleanup(func() { _ = listener.Close() })
	silent := edge.Pool{Namespace: "web", Name: "shop", Label: "shop-web", Address: listener.Addr().String()}
	nobody := silent
	nobody.Address = net.JoinHostPort("127.0.0.1", port(t))
	unready := silent
	unready.Unready = "its poolers do not run"
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	login := edge.Login{User: "app", Password: clientPassword, Database: "shop"}
	zero := login
	zero.Parameters = map[string]string{"application_name": "a\x00user\x00owner"}
	for name, c := range map[string]struct {
		ctx    context.Context
		pool   edge.Pool
		login  edge.Login
		status int
		code   string
	}{
		"nobody listens":                   {t.Context(), nobody, login, http.StatusServiceUnavailable, "08006"},
		"nobody answers":                   {t.Context(), silent, login, http.StatusGatewayTimeout, "08006"},
		"it is not ready":                  {t.Context(), unready, login, http.StatusServiceUnavailable, "57P03"},
		"the client has gone":              {canceled, silent, login, 499, "57014"},
		"a text ends before its zero byte": {t.Context(), silent, zero, http.StatusBadRequest, "08P01"},
	} {
		t.Run(name, func(t *testing.T) {
			door := edge.Door{Timeout: 100 * time.Millisecond}
			_, err := door.Enter(c.ctx, c.pool, netip.Addr{}, c.login)
			var refusal *edge.Refusal
			if !errors.As(err, &refusal) || refusal.Status != c.status || refusal.Code != c.code {
				t.Fatalf("it says %#v", err)
			}
			for _, secret := range []string{clientPassword, "127.0.0.1", "app"} {
				if strings.Contains(refusal.Message+refusal.Hint, secret) {
					t.Errorf("%q names %q", refusal.Message, secret)
				}
			}
		})
	}
}

func TestTheDoorLeadsToNobodyWhoCanNotProveToBeThePool(t *testing.T) {
	s := aSite(t, encrypted)
	for name, change := range map[string]func(*edge.Pool){
		"another authority":           func(p *edge.Pool) { p.Authority = string(testenv.NewAuthority(t).CA) },
		"another name":                func(p *edge.Pool) { p.ServerName = "pool.test" },
		"a pooler that has no secret": func(p *edge.Pool) { p.TLS, p.Address = false, liar(t) },
	} {
		t.Run(name, func(t *testing.T) {
			pool := s.Pool
			change(&pool)
			door := edge.Door{Timeout: patience}
			_, err := door.Enter(t.Context(), pool, netip.Addr{}, s.Login)
			var refusal *edge.Refusal
			if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// liar lets everybody in without a password.
func liar(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// AuthenticationOk and ReadyForQuery, whatever it is asked.
			_, _ = conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"))
			_, _ = conn.Read(make([]byte, 1024))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// port is one where nobody listens.
func port(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, number, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return number
}
