// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

func TestWhatKeepsAClientFromItsPoolIsToldInPostgreSQLsTerms(t *testing.T) {
	s := aSite(t)
	other := s.Pool
	other.Label, other.Unready = "late-web", "no pooler is ready"
	away := s.Pool
	away.Label, away.Address = "away-web", "127.0.0.1:1"
	full := s.Pool
	full.Label, full.MaxConcurrency = "full-web", 0
	s.Directory.Replace(map[string]edge.Pool{s.Pool.Label: s.Pool, other.Label: other, away.Label: away, full.Label: full})
	g := aGateway(t, s, edge.WebSocketLimits{Message: 1 << 16})

	opening := encoded(t, startup(s.Login))
	with := func(password string) []byte {
		return slices.Concat(opening, encoded(t, &pgproto3.PasswordMessage{Password: password}))
	}
	for name, c := range map[string]struct {
		host string
		send []byte
		code string
	}{
		"a pool nobody knows":         {host: "none." + domain, send: opening, code: "08004"},
		"a domain that is not ours":   {host: "shop-web.example.com", send: opening, code: "08004"},
		"a pool that is not ready":    {host: "late-web." + domain, send: opening, code: "57P03"},
		"a pool that does not answer": {host: "away-web." + domain, send: with(s.Login.Password), code: "08006"},
		"a pool that is full":         {host: "full-web." + domain, send: opening, code: "53300"},
		"a wrong password":            {send: with("wrong"), code: "28P01"},
		"an empty password":           {send: with(""), code: "28P01"},
		"no user":                     {send: encoded(t, startup(edge.Login{Database: "shop"})), code: "28000"},
		"a database that is not there": {
			send: encoded(t, startup(edge.Login{User: s.Login.User, Database: "none"}), &pgproto3.PasswordMessage{Password: s.Login.Password}),
			code: "3D000",
		},
		"a query in place of the password": {send: encoded(t, startup(s.Login), &pgproto3.Query{String: "select 1"}), code: "08P01"},
		"a password without an end":        {send: slices.Concat(opening, []byte{'p', 0, 0, 0, 6, 'x', 'y'}), code: "08P01"},
		"a startup packet of no length":    {send: []byte{0, 0, 0, 0}, code: "08P01"},
		"a startup packet without version": {send: []byte{0, 0, 0, 4}, code: "08P01"},
		"a startup packet that is endless": {send: []byte{0x7f, 0xff, 0xff, 0xff}, code: "08P01"},
		"a startup packet without an end":  {send: []byte{0, 0, 0, 9, 0, 3, 0, 0, 'u'}, code: "08P01"},
		"a cancel request without a key":   {send: []byte{0, 0, 0, 8, 4, 210, 22, 46}, code: "08P01"},
		"HTTP":                             {send: []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), code: "08P01"},
		"protocol 2":                       {send: []byte{0, 0, 0, 8, 0, 2, 0, 0}, code: "0A000"},
		"a message that is too long":       {send: slices.Concat(with(s.Login.Password), encoded(t, &pgproto3.Query{String: strings.Repeat(" ", 1<<16)})), code: "54000"},
	} {
		t.Run(name, func(t *testing.T) {
			g.host = s.host()
			if c.host != "" {
				g.host = c.host
			}
			ws := g.dial(t, "/v2")
			send(t, ws, c.send)
			heard := hear(t, ws)
			failure := heard.failure(t)
			if failure.Code != c.code || failure.Severity != "FATAL" || strings.Contains(failure.Message+failure.Hint, s.Login.Password) {
				t.Errorf("the gateway says %s %s: %q", failure.Severity, failure.Code, failure.Message)
			}
			if heard.status < websocket.StatusNormalClosure {
				t.Errorf("the WebSocket ends in %v", heard.err)
			}
		})
	}
}

func TestATextMessageIsRefusedInWordsBeforeAndAfterTheLogin(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	for _, before := range [][]byte{
		nil,
		encoded(t, startup(s.Login)),
		encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}),
	} {
		ws := g.dial(t, "/v2")
		if before != nil {
			send(t, ws, before)
		}
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("select 1")); err != nil {
			t.Fatal(err)
		}
		heard := hear(t, ws)
		if failure := heard.failure(t); failure.Code != "08P01" || !strings.Contains(failure.Message, "binary") || heard.status != websocket.StatusUnsupportedData {
			t.Errorf("after %d bytes the gateway says %q, then %v", len(before), failure.Message, heard.err)
		}
	}
}

func TestAClientThatSendsNothingIsLeftAfterAWhile(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{Handshake: 300 * time.Millisecond})
	for name, before := range map[string][]byte{"nothing": nil, "half a length": {0, 0}, "no password": encoded(t, startup(s.Login))} {
		ws := g.dial(t, "/v2")
		if before != nil {
			send(t, ws, before)
		}
		if failure := hear(t, ws).failure(t); failure.Code != "57014" {
			t.Errorf("%s: the gateway says %s: %q", name, failure.Code, failure.Message)
		}
	}
}

func TestAClientThatAsksForEncryptionGoesOnWithout(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	ws := g.dial(t, "/v2")
	for _, request := range []pgproto3.FrontendMessage{&pgproto3.GSSEncRequest{}, &pgproto3.SSLRequest{}} {
		send(t, ws, encoded(t, request))
		if _, answer, err := ws.Read(t.Context()); err != nil || string(answer) != "N" {
			t.Fatalf("%T is answered with %q, %v", request, answer, err)
		}
	}
	send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}, &pgproto3.Terminate{}))
	if heard := hear(t, ws); !strings.HasSuffix(heard.kinds, "KZ") {
		t.Errorf("the gateway says %q, then %v", heard.kinds, heard.err)
	}
}

func TestAClientOfALaterProtocolIsToldWhichItGets(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	later, strange := startup(s.Login), startup(s.Login)
	later.ProtocolVersion = pgproto3.ProtocolVersion32
	strange.Parameters["_pq_.strange"] = "1"
	for name, packet := range map[string]*pgproto3.StartupMessage{"3.2": later, "an option": strange} {
		ws := g.dial(t, "/v2")
		send(t, ws, encoded(t, packet, &pgproto3.PasswordMessage{Password: s.Login.Password}, &pgproto3.Terminate{}))
		heard := hear(t, ws)
		if !strings.HasPrefix(heard.kinds, "vRR") || !strings.HasSuffix(heard.kinds, "KZ") {
			t.Fatalf("%s: the gateway says %q, then %v", name, heard.kinds, heard.err)
		}
		negotiated := &pgproto3.NegotiateProtocolVersion{}
		if err := negotiated.Decode(heard.bodies[0]); err != nil || negotiated.NewestMinorProtocol != 0 {
			t.Errorf("%s: settled on %v, %v", name, negotiated, err)
		}
	}
}

func TestStartupParametersReachTheServer(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	config := g.config(t, s, whole)
	config.RuntimeParams["application_name"] = "a worker"
	conn := connectAs(t, config)
	var name string
	if err := conn.QueryRow(t.Context(), "show application_name").Scan(&name); err != nil || name != "a worker" {
		t.Errorf("the server knows the client as %q, %v", name, err)
	}
}

func TestAClientIsToldWhenItsPoolerGoes(t *testing.T) {
	s := aSite(t)
	g := aGateway(t, s, edge.WebSocketLimits{})
	ws := loggedIn(t, g, s)
	s.PgBouncer.Restart(t)
	if failure := hear(t, ws).failure(t); failure.Code != "08006" && failure.Code != "57P01" {
		t.Errorf("the gateway says %s: %q", failure.Code, failure.Message)
	}
}

// loggedIn is a WebSocket whose session is ready for a query.
func loggedIn(t testing.TB, g *gateway, s *site) *websocket.Conn {
	t.Helper()
	ws := g.dial(t, "/v2")
	send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}))
	ready(t, ws)
	return ws
}

// ready reads up to a ReadyForQuery.
func ready(t testing.TB, ws *websocket.Conn) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for {
		_, message, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(message); n >= 6 && message[n-6] == 'Z' {
			return
		}
	}
}
