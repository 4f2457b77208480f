// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// A front is the whole gateway as its command runs it.
type front struct {
	*edge.Server
	// Address is for clients, Metrics for metrics and health.
	Address, Metrics string
	Client           *http.Client
	// certificate and key are the files that it reads.
	certificate, key string
	log              testenv.Buffer
	// end has it shut down; the error is that of Run.
	end func() error
}

// aFront speaks TLS to clients that trust its authority, for any host under the domain.
func aFront(t testing.TB, directory *edge.Directory, options ...func(*edge.Server)) *front {
	t.Helper()
	f := &front{certificate: filepath.Join(t.TempDir(), "tls.crt"), key: filepath.Join(t.TempDir(), "tls.key")}
	authority := testenv.NewAuthority(t)
	f.install(t, authority.Issue(t, "*."+domain))
	certificate, err := edge.OpenCertificate(f.certificate, f.key)
	if err != nil {
		t.Fatal(err)
	}
	door, limiter := &edge.Door{Timeout: patience}, &edge.Limiter{}
	connections := connectionsTo(directory, door)
	sql := &edge.HTTP{Directory: directory, Connections: connections, Limiter: limiter, Limits: edge.DefaultHTTPLimits}
	sockets := &edge.WebSocket{Directory: directory, Door: door, Limiter: limiter}
	f.Server = &edge.Server{
		SQL: sql, WebSocket: sockets, Metrics: edge.NewMetrics(directory, limiter, sockets.Open), Certificate: certificate,
		Ready: func() error { return nil }, Timeout: patience, Shutdown: sockets.Shutdown,
		Log: slog.New(slog.NewJSONHandler(&f.log, nil)), AccessLog: true,
	}
	door.Failed, sockets.Ended = f.Server.Metrics.FailedLogin, f.EndWebSocket
	for _, option := range options {
		option(f.Server)
	}
	clients, metrics := listening(t), listening(t)
	f.Address, f.Metrics = clients.Addr().String(), "http://"+metrics.Addr().String()
	f.Client = clientOf(f.Address, authority.CA)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, clients, metrics) }()
	f.end = sync.OnceValue(func() error { stop(); return <-done })
	t.Cleanup(func() {
		f.Client.CloseIdleConnections()
		if err := f.end(); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		connections.Close()
	})
	return f
}

func (f *front) install(t testing.TB, c testenv.Certificate) {
	t.Helper()
	for path, text := range map[string][]byte{f.certificate: c.Certificate, f.key: c.Key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func listening(t testing.TB) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// clientOf connects to the address whatever the host is.
func clientOf(address string, authority []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
}

// get returns the status and the body of what is at a URL.
func get(t testing.TB, client *http.Client, url string) (int, string) {
	t.Helper()
	return do(t, client, http.MethodGet, url, nil, "")
}

func do(t testing.TB, client *http.Client, method, url string, header http.Header, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
		r.Host = header.Get("Host")
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}
