// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is what clients name.
const host = "shop-web.edge.test"

var (
	one   = netip.MustParseAddr("127.0.0.2")
	two   = netip.MustParseAddr("127.0.0.3")
	three = netip.MustParseAddr("127.0.0.4")
)

// service is what the headless Service resolves to.
type service struct {
	addresses atomic.Pointer[[]netip.Addr]
	failure   atomic.Pointer[error]
	asked     atomic.Int64
}

func (s *service) set(addresses ...netip.Addr) { s.addresses.Store(&addresses) }

func (s *service) lookUp(context.Context, string) ([]netip.Addr, error) {
	s.asked.Add(1)
	if failure := s.failure.Load(); failure != nil {
		return nil, *failure
	}
	return *s.addresses.Load(), nil
}

// site is a few replicas on addresses of the loopback network.
type site struct {
	t *testing.T
	*service
	port  uint16
	limit Limits
	// certificates are what each replica has, now and before; nil is plain HTTP.
	certificates map[netip.Addr][]*tls.Certificate
}

var generous = Limits{RequestBytes: 1 << 20, ResultBytes: 1 << 20, Timeout: time.Minute}

func newSite(t *testing.T, certificates map[netip.Addr][]*tls.Certificate) *site {
	t.Helper()
	s := &site{t: t, service: &service{}, limit: generous, certificates: certificates}
	s.set(one, two)
	return s
}

// shared is a certificate that all replicas have.
func shared(t *testing.T) map[netip.Addr][]*tls.Certificate {
	t.Helper()
	all := []*tls.Certificate{issue(t)}
	return map[netip.Addr][]*tls.Certificate{one: all, two: all, three: all}
}

func issue(t *testing.T) *tls.Certificate {
	t.Helper()
	made := testenv.NewCertificate(t, "*.edge.test")
	pair, err := tls.X509KeyPair(made.Certificate, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// replica is one of them, which does not listen yet.
func (s *site) replica(self netip.Addr) *Peers {
	options := Options{Service: "peers.test", Self: self, Port: s.port, Limits: s.limit, LookUp: s.lookUp}
	if s.certificates != nil {
		options.Certificates = func() []*tls.Certificate { return s.certificates[self] }
	}
	p := New(options)
	s.t.Cleanup(p.Close)
	return p
}

// serve has a replica listen, on the port that all have.
func (s *site) serve(self netip.Addr, handler http.Handler) *httptest.Server {
	s.t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(s.t.Context(), "tcp", netip.AddrPortFrom(self, s.port).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.port = netip.MustParseAddrPort(listener.Addr().String()).Port()
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener = listener
	if s.certificates == nil {
		server.Start()
	} else {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.certificates[self][0]}}
		server.StartTLS()
	}
	s.t.Cleanup(server.Close)
	return server
}

// aRequest is one as a client sends it.
func aRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/transaction/x%2Fy/query?a=1;b&c", strings.NewReader(body))
	r.Host, r.RemoteAddr = host, "192.0.2.7:0"
	r.Header.Set("Authorization", "Bearer key")
	return r
}

// seen is what a replica gets.
type seen struct {
	caller             netip.Addr
	believed, passedOn bool
	body, path, host   string
	authorization      string
	forwardedFor       string
}

// record answers with what the replica makes of a request.
func record(p func() *Peers, into *atomic.Pointer[seen]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got seen
		got.caller, got.believed = p().Accept(r)
		got.passedOn = Forwarded(r)
		body, _ := io.ReadAll(r.Body)
		got.body, got.path, got.host, got.authorization = string(body), r.URL.EscapedPath(), r.Host, r.Header.Get("Authorization")
		got.forwardedFor = r.Header.Get("X-Forwarded-For")
		into.Store(&got)
		w.Header().Set("Prisma-Transaction-Id", "x")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "answered")
	})
}
