// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

var update = flag.Bool("update", false, "write the table of metrics anew")

func TestEveryMetricIsDocumentedAndTheCertificatesEndIsTold(t *testing.T) {
	certificate, dir := testenv.NewCertificate(t, "*.edge.test"), t.TempDir()
	for name, text := range map[string][]byte{"tls.crt": certificate.Certificate, "tls.key": certificate.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := parse([]string{"--domain=edge.test", "--tls-certificate=" + dir + "/tls.crt", "--tls-key=" + dir + "/tls.key"})
	if err != nil {
		t.Fatal(err)
	}
	server, end, err := o.server(new(edge.Directory), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	registry := prometheus.NewRegistry()
	registry.MustRegister(server.Certificate.Expiry())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if ends := families[0].GetMetric()[0].GetGauge().GetValue(); ends <= float64(time.Now().Unix()) {
		t.Errorf("a certificate that is new is said to have ended at %v", ends)
	}
	testenv.DocumentMetrics(t, "gateway", *update, server.Metrics, "poolfleet_")
}
