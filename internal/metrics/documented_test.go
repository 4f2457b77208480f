// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"flag"
	"testing"

	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

var update = flag.Bool("update", false, "write the table of metrics anew")

func TestEveryMetricIsDocumented(t *testing.T) {
	all, ok := registry.Registry.(testenv.Describer)
	if !ok {
		t.Fatal("the registry can not name its metrics")
	}
	testenv.DocumentMetrics(t, "manager", *update, all, "poolfleet_", "leader_election_")
}
