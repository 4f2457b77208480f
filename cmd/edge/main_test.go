// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
)

func TestTheCommandLineSaysHowTheGatewayRuns(t *testing.T) {
	t.Setenv("POD_IP", "10.0.0.7")
	got, err := parse([]string{
		"--domain=.Edge.Example.com.", "--listen=:8443", "--plain-http", "--namespaces=web, shop", "--log-level=debug", "--access-log=false",
		"--trusted-proxies=10.1.2.3/8,fd00::/8", "--max-request-bytes=1", "--max-result-bytes=2", "--request-timeout=3s", "--max-kept-connections=4",
		"--keep-connections-for=5s", "--websocket-idle-timeout=6s", "--max-message-bytes=7", "--caller-concurrency=8", "--caller-rate=9.5",
		"--caller-burst=10", "--login-timeout=11s", "--shutdown-delay=12s", "--shutdown-timeout=13s", "--metrics-address=:1",
		"--max-transaction-time=14s", "--max-transaction-wait=15s", "--max-transactions=16", "--caller-transactions=17", "--max-cache-bytes=18", "--accelerate-legacy-socket=/run/s", "--peers=peers.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := edge.DefaultKeptLimits
	kept.Idle, kept.For = 4, 5*time.Second
	results := cache.DefaultLimits
	results.Bytes = 18
	want := options{
		domain: "edge.example.com", listen: ":8443", metricsAddress: ":1", plainHTTP: true,
		namespaces: []string{"web", "shop"}, logLevel: slog.LevelDebug,
		trustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		loginTimeout:   11 * time.Second, shutdownDelay: 12 * time.Second, shutdownTimeout: 13 * time.Second,
		http: edge.HTTPLimits{RequestBytes: 1, ResultBytes: 2, Timeout: 3 * time.Second}, kept: kept, webSocket: edge.WebSocketLimits{Idle: 6 * time.Second, Message: 7},
		caller:       edge.CallerLimits{Concurrency: 8, Rate: 9.5, Burst: 10},
		transactions: accelerate.TransactionLimits{Timeout: 14 * time.Second, MaxWait: 15 * time.Second, PerPool: 16, PerCaller: 17},
		cache:        results,
		legacySocket: "/run/s", peers: "peers.test", self: netip.MustParseAddr("10.0.0.7"),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{}), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestAGatewayWithoutADomainOrACertificateIsToldWhatIsMissing(t *testing.T) {
	for args, want := range map[string]string{
		"":                "--domain is missing",
		"--domain=a.test": "--tls-certificate or --tls-key is missing",
		"--domain=a.test --plain-http --tls-key=k":          "--plain-http needs no certificate",
		"--domain=a.test --tls-certificate=c":               "--tls-certificate or --tls-key is missing",
		"--domain=a.test --plain-http something":            "is no flag",
		"--domain=a.test --plain-http --peers=b.test":       "POD_IP",
		"--domain=a.test --plain-http --max-transactions=0": "--max-transactions",
		"--domain=a.test --plain-http --caller-burst=-1":    "can not be negative",
		"--domain=a.test --plain-http --request-timeout=0":  "--request-timeout",
		"--domain=a.test --plain-http --max-result-bytes=0": "--max-result-bytes",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q it says %v", args, err)
		}
	}
}

func TestAGatewayWithoutItsCertificateDoesNotStart(t *testing.T) {
	o, err := parse([]string{"--domain=a.test", "--tls-certificate=missing.crt", "--tls-key=missing.key"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.server(&edge.Directory{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "reading the certificate") {
		t.Errorf("it says %v", err)
	}
}

func TestTheGatewayShowsWhatItKeepsForPrismasClients(t *testing.T) {
	o, err := parse([]string{"--domain=a.test", "--plain-http", "--shutdown-delay=0"})
	if err != nil {
		t.Fatal(err)
	}
	server, end, err := o.server(&edge.Directory{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listeners[0], listeners[1]) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listeners[1].Addr().String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	for _, want := range []string{`poolfleet_edge_cache_results_total{status="ttl"} 0`, "poolfleet_edge_cache_bytes 0", "poolfleet_edge_open_transactions 0"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: it does not show %s", err, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
