// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
	"github.com/poolfleet/poolfleet/internal/edge/peers"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// A gateway is a replica as its command runs it, that finds others by a Service.
type gateway struct {
	*replica
	Log *testenv.Buffer
	// end has it shut down.
	end func()
}

// twoGateways listen at one port of two addresses, with one certificate.
func twoGateways(t *testing.T, s *shop) (first, second *gateway) {
	t.Helper()
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	made := testenv.NewCertificate(t, "*."+planDomain)
	for path, text := range map[string][]byte{certificate: made.Certificate, key: made.Key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := edge.OpenCertificate(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	addresses := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	one := listenAt(t, netip.AddrPortFrom(addresses[0], 0))
	port := netip.MustParseAddrPort(one.Addr().String()).Port()
	two := listenAt(t, netip.AddrPortFrom(addresses[1], port))
	lookUp := func(context.Context, string) ([]netip.Addr, error) { return addresses, nil }
	return aGateway(t, s, one, opened, lookUp, made.CA), aGateway(t, s, two, opened, lookUp, made.CA)
}

func listenAt(t *testing.T, address netip.AddrPort) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func aGateway(
	t *testing.T, s *shop, clients net.Listener, certificate *edge.Certificate, lookUp func(context.Context, string) ([]netip.Addr, error), authority []byte,
) *gateway {
	t.Helper()
	at := netip.MustParseAddrPort(clients.Addr().String())
	replicas := peers.New(peers.Options{
		Service: "peers.test", Self: at.Addr(), Port: at.Port(), Certificates: certificate.All, LookUp: lookUp,
		Limits: peers.Limits{RequestBytes: 1 << 20, ResultBytes: 1 << 20, Timeout: planPatience},
	})
	results, err := cache.New(cache.DefaultLimits, func(err error) { t.Errorf("fetching again: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	limiter := &edge.Limiter{}
	connections := &edge.Connections{Directory: s.Directory, Door: &edge.Door{Timeout: planPatience}, Limits: edge.DefaultKeptLimits}
	handler := &accelerate.Handler{
		Directory: s.Directory, Connections: connections, Limiter: limiter, Limits: edge.DefaultHTTPLimits, Cache: results,
		Transactions: &accelerate.Transactions{Limits: accelerate.DefaultTransactionLimits}, Replicas: replicas,
	}
	g := &gateway{Log: &testenv.Buffer{}}
	server := &edge.Server{
		Accelerate: handler, Callers: edge.Callers{Peers: replicas}, Metrics: edge.NewMetrics(s.Directory, limiter, func() int { return 0 }),
		Certificate: certificate, Ready: func() error { return nil }, Timeout: planPatience, Drain: handler.Drain,
		Shutdown: func(context.Context) error { return nil }, Log: slog.New(slog.NewJSONHandler(g.Log, nil)), AccessLog: true,
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	metrics := listenAt(t, netip.AddrPortFrom(at.Addr(), 0))
	go func() { done <- server.Run(ctx, clients, metrics) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: s.Pool.Label + "." + planDomain, MinVersion: tls.VersionTLS12}}
	g.end = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("shutting down: %v", err)
		}
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		g.end()
		replicas.Close()
		results.Close()
		connections.Close()
	})
	g.replica = &replica{shop: s, Handler: handler, Key: s.Key, URL: "https://" + at.String(), Client: &http.Client{Transport: transport}}
	return g
}

func TestAnyReplicaServesATransaction(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	first, second := twoGateways(t, s)
	id := first.start(t, startBody)
	second.rowsIn(t, id, "insert into item values (1, 'a')")
	first.rowsIn(t, id, "insert into item values (2, 'b')")
	if inner := second.start(t, `{"maxWait":2000,"timeout":5000,"newTxId":"`+id+`"}`); inner != id {
		t.Errorf("the inner one is %s, the outer %s", inner, id)
	}
	second.rowsIn(t, id, "insert into item values (3, 'c')")
	if got := second.post(t, "/transaction/"+id+"/rollback", ""); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	stranger := *second.replica
	stranger.Key.User, stranger.Key.Password = "second", "another"
	if diff := cmp.Diff(closed(isUnknown), fails(t, stranger.post(t, "/transaction/"+id+"/commit", ""))); diff != "" {
		t.Errorf("another key (-want +got):\n%s", diff)
	}
	stranger.Key.Password = "guess"
	if got := fails(t, stranger.post(t, "/transaction/"+id+"/commit", "")); got.Code != "P6002" {
		t.Errorf("a wrong key: %+v", got)
	}
	second.commit(t, id)
	if got := s.names(t); got != "a b" {
		t.Errorf("there is %q", got)
	}
	if got := fails(t, second.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1"))); got != closed(isCommitted) {
		t.Errorf("afterwards: %+v", got)
	}
	if strings.Contains(first.Log.String()+second.Log.String(), id) || strings.Contains(first.Log.String(), s.Key.String()) {
		t.Error("the log has an ID or a key")
	}
	if !strings.Contains(first.Log.String(), `"msg":"accelerate","pool":"web/shop","method":"POST","code":"200"`) {
		t.Error("the log does not tell of requests")
	}
}

func TestATransactionIsLostWithItsReplica(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	first, second := twoGateways(t, s)
	id := first.start(t, startBody)
	second.rowsIn(t, id, "insert into item values (1, 'a')")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		first.end()
	}()
	eventually(t, "no more begin there", func() bool {
		got := first.post(t, "/transaction/start", startBody)
		if got.Status == http.StatusOK {
			first.commit(t, got.Header.Get("Prisma-Transaction-Id"))
		}
		return got.Status == http.StatusServiceUnavailable
	})
	second.rowsIn(t, id, "insert into item values (2, 'b')")
	second.commit(t, id)
	<-ended
	for _, lost := range []string{id, strings.Replace(id, id[:1], "v", 1)} {
		if diff := cmp.Diff(closed(isUnknown), fails(t, second.post(t, "/transaction/"+lost+"/query", plan("queryRaw", "select 1")))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", lost, diff)
		}
	}
	if got := s.names(t); got != "a b" {
		t.Errorf("there is %q", got)
	}
}

func TestResultsAreKeptAsClientsAsk(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	first, second := twoGateways(t, s)
	first.rows(t, "insert into item values (1, 'a')")
	count := "select count(*)::int as n, clock_timestamp() as at from item"
	ask := func(g *gateway, want, operation string, headers ...string) string {
		t.Helper()
		got := g.post(t, "/query", plan(operation, count), headers...)
		if got.Status != http.StatusOK || got.Header.Get("Accelerate-Cache-Status") != want || got.Header.Get("Last-Modified") == "" {
			t.Errorf("status %d, cache status %q, not %q: %s", got.Status, got.Header.Get("Accelerate-Cache-Status"), want, got.Body)
		}
		return got.Body
	}
	policy := []string{"Cache-Control", "max-age=600", "Accelerate-Cache-Tags", "items"}
	miss := ask(first, "miss", "findMany", policy...)
	if hit := ask(first, "ttl", "findMany", policy...); hit != miss {
		t.Errorf("the result is %s, and then %s", miss, hit)
	}
	for _, other := range [][]string{{"Cache-Control", "no-cache"}, nil} {
		if body := ask(first, "none", "findMany", other...); body == miss {
			t.Error("who asks for no cache is given what is kept")
		}
	}
	for _, operation := range []string{"createOne", "queryRaw", "executeRaw", "updateMany"} {
		ask(first, "none", operation, policy...)
	}
	ask(second, "miss", "findMany", policy...)

	stranger := *first
	shared := *first.replica
	stranger.replica = &shared
	stranger.Key.User, stranger.Key.Password = "second", "another"
	if body := ask(&stranger, "miss", "findMany", policy...); body == miss {
		t.Error("another key is given what is kept")
	}
	stranger.Key = s.Key
	stranger.Key.Password = "guess"
	if p := fails(t, stranger.post(t, "/query", plan("findMany", count), policy...)); p.Code != "P6002" {
		t.Errorf("a wrong key is given what is kept: %+v", p)
	}

	if got := second.post(t, "/invalidate", `{"tags":["items"]}`); got.Status != http.StatusOK {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	ask(first, "miss", "findMany", policy...)
	ask(second, "miss", "findMany", policy...)
	for _, body := range []string{`{}`, `{"tags":["a b"]}`, "x"} {
		if p := fails(t, first.post(t, "/invalidate", body)); p.Status != http.StatusBadRequest || p.Code != "P6005" {
			t.Errorf("%s: %+v", body, p)
		}
	}
}
