// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const secretQuery = `{"query":"select 'the query''s own secret'","params":[]}`

func TestTheGatewayAnswersRequestsAndTellsOfThemWithoutWhatTheySay(t *testing.T) {
	s := aSite(t)
	f := aFront(t, s.Directory)
	header := http.Header{connectionString: {s.url()}, "User-Agent": {"evil\tagent"}}
	if status, body := do(t, f.Client, http.MethodPost, "https://api."+domain+"/sql", header, secretQuery); status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	if status, body := do(t, f.Client, http.MethodPost, "https://api."+domain+"/other?x=y", nil, ""); status != http.StatusNotFound || !json.Valid([]byte(body)) {
		t.Errorf("elsewhere there is %d: %s", status, body)
	}
	wrong := strings.Replace(s.url(), url.QueryEscape(clientPassword), "guess", 1)
	stranger := http.Header{connectionString: {strings.Replace(s.url(), s.Pool.Label, "nobody", 1)}}
	do(t, f.Client, http.MethodPost, "https://api."+domain+"/sql", stranger, secretQuery)
	do(t, f.Client, http.MethodPost, "https://api."+domain+"/sql", http.Header{connectionString: {wrongURL(s)}}, secretQuery)
	visitBySocket(t, f, s)
	eventually(t, "the log has the WebSocket", func() bool { return strings.Contains(f.log.String(), `"msg":"websocket"`) })
	for _, want := range []string{
		`"msg":"http","pool":"web/shop","method":"POST","code":"200"`, `"msg":"other","pool":"","method":"POST","code":"404"`,
		`"msg":"http","pool":"","method":"POST","code":"404"`, `"msg":"websocket","pool":"web/shop","method":"GET","code":"00000"`,
		`"caller":"127.0.0.1"`,
	} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	for _, secret := range []string{"secret", "evil", clientPassword, wrong, "/other", "guess", `nobody`} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	_, metrics := get(t, http.DefaultClient, f.Metrics+"/metrics")
	for _, want := range []string{
		`poolfleet_edge_requests_total{code="200",kind="http",namespace="web",pool="shop"} 1`,
		`poolfleet_edge_requests_total{code="404",kind="http",namespace="",pool=""} 1`,
		`poolfleet_edge_requests_total{code="00000",kind="websocket",namespace="web",pool="shop"} 1`,
		`poolfleet_edge_failed_logins_total{namespace="web",pool="shop"} 1`,
		`poolfleet_edge_in_flight{namespace="web",pool="shop"} 0`, `poolfleet_edge_open_websockets 0`,
		`poolfleet_edge_request_duration_seconds_count{namespace="web",pool="shop"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("there is no %s", want)
		}
	}
	s.Directory.Replace(nil)
	if _, metrics := get(t, http.DefaultClient, f.Metrics+"/metrics"); strings.Contains(metrics, `pool="shop"`) {
		t.Error("the series of a pool that has gone are still there")
	}
}

func wrongURL(s *site) string {
	wrong := *s
	wrong.Login.Password = "guess"
	return wrong.url()
}

// visitBySocket opens a WebSocket, logs in and leaves in the proper way.
func visitBySocket(t *testing.T, f *front, s *site) {
	t.Helper()
	//nolint:bodyclose // The library says that it need not be.
	ws, _, err := websocket.Dial(t.Context(), "wss://"+s.host()+"/v2", &websocket.DialOptions{HTTPClient: f.Client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	send(t, ws, encoded(t, startup(s.Login), &pgproto3.PasswordMessage{Password: s.Login.Password}, &pgproto3.Query{String: "select 1"}, &pgproto3.Terminate{}))
	hear(t, ws)
}

func TestClientsSpeakTLSOfTodayWithTheCertificateOfToday(t *testing.T) {
	f := aFront(t, &edge.Directory{Domain: domain})
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- f.Certificate.Follow(ctx, f.Log) }()
	if status, _ := get(t, f.Client, "https://api."+domain+"/"); status != http.StatusNotFound {
		t.Errorf("it answers %d", status)
	}
	old := &tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}
	if conn, err := (&tls.Dialer{Config: old}).DialContext(t.Context(), "tcp", f.Address); err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.1")
	}
	before := f.Certificate.All()[0]
	next := testenv.NewCertificate(t, "*."+domain)
	f.install(t, next)
	trusting := clientOf(f.Address, next.CA)
	defer trusting.CloseIdleConnections()
	eventually(t, "clients see the new certificate", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api."+domain+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := trusting.Do(r)
		return err == nil && response.Body.Close() == nil
	})
	if all := f.Certificate.All(); len(all) != 2 || all[1] != before {
		t.Error("it has forgotten the certificate that other replicas may still have")
	}
	f.install(t, testenv.Certificate{Certificate: []byte("broken"), Key: []byte("broken")})
	eventually(t, "it says that a certificate is broken", func() bool { return strings.Contains(f.log.String(), "the last good one stays") })
	if status, _ := get(t, clientOf(f.Address, next.CA), "https://api."+domain+"/"); status != http.StatusNotFound {
		t.Errorf("it answers %d", status)
	}
	stop()
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

func TestTheGatewayEndsWhenRequestsAreDoneAndIsNotReadyBefore(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	f := aFront(t, &edge.Directory{Domain: domain}, func(s *edge.Server) {
		s.SQL = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-finish
			_, _ = w.Write([]byte("done"))
		})
	})
	if status, words := get(t, http.DefaultClient, f.Metrics+"/readyz"); status != http.StatusOK {
		t.Errorf("it is not ready: %s", words)
	}
	answered := make(chan string, 1)
	go func() {
		_, body := get(t, f.Client, "https://api."+domain+"/sql")
		answered <- body
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- f.end() }()
	eventually(t, "it is not ready", func() bool {
		status, _ := get(t, http.DefaultClient, f.Metrics+"/readyz")
		return status == http.StatusServiceUnavailable
	})
	if status, _ := get(t, http.DefaultClient, f.Metrics+"/healthz"); status != http.StatusOK {
		t.Errorf("it says that it is not alive: %d", status)
	}
	select {
	case err := <-ended:
		t.Errorf("it has ended with a request under way: %v", err)
	default:
	}
	close(finish)
	if body := <-answered; body != "done" {
		t.Errorf("the request ends with %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAGatewayThatCanNotWaitAnyLongerSaysWhatItCuts(t *testing.T) {
	begun := make(chan struct{})
	f := aFront(t, &edge.Directory{Domain: domain}, func(s *edge.Server) {
		s.Timeout = 10 * time.Millisecond
		s.SQL = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		})
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api."+domain+"/sql", nil)
	if err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		response, err := f.Client.Do(r)
		if err == nil {
			_ = response.Body.Close()
		}
		cut <- err
	}()
	<-begun
	if err := f.end(); err == nil || !strings.Contains(err.Error(), "is cut") {
		t.Errorf("it ends with %v", err)
	}
	if <-cut == nil {
		t.Error("the request has an answer")
	}
	f.end = func() error { return nil }
}

func TestAMistakeOfOursEndsOneRequest(t *testing.T) {
	f := aFront(t, &edge.Directory{Domain: domain}, func(s *edge.Server) {
		s.SQL = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api."+domain+"/sql", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := f.Client.Do(r); err == nil {
		_ = response.Body.Close()
		t.Error("half an answer looks like a whole one")
	}
	if status, _ := get(t, f.Client, "https://api."+domain+"/"); status != http.StatusNotFound {
		t.Errorf("afterwards it answers %d", status)
	}
	if !strings.Contains(f.log.String(), "a mistake") {
		t.Error("the log does not say so")
	}
}

func TestHandlersAreToldTheCallerThatProxiesName(t *testing.T) {
	seen := make(chan string, 1)
	f := aFront(t, &edge.Directory{Domain: domain}, func(s *edge.Server) {
		s.Callers = edge.Callers{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		s.SQL = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RemoteAddr })
	})
	do(t, f.Client, http.MethodPost, "https://api."+domain+"/sql", http.Header{"X-Forwarded-For": {"2001:db8::7"}}, "")
	if caller := <-seen; caller != "[2001:db8::7]:0" {
		t.Errorf("they see %s", caller)
	}
}
