// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"flag"
	"testing"

	"github.com/poolfleet/poolfleet/internal/pooler"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

var update = flag.Bool("update", false, "write the tables of metrics anew")

func TestEveryMetricIsDocumented(t *testing.T) {
	metrics := pooler.New(pooler.Options{}).Metrics()
	testenv.DocumentMetrics(t, "pooler", *update, metrics, "poolfleet_")
	testenv.DocumentMetrics(t, "pgbouncer", *update, metrics, "pgbouncer_")
}
