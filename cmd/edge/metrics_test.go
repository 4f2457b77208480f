// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"log/slog"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

var update = flag.Bool("update", false, "write the table of metrics anew")

func TestEveryMetricIsDocumented(t *testing.T) {
	o, err := parse([]string{"--domain=edge.test", "--plain-http"})
	if err != nil {
		t.Fatal(err)
	}
	server, end, err := o.server(new(edge.Directory), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	testenv.DocumentMetrics(t, "gateway", *update, server.Metrics, "poolfleet_")
}
