// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

func TestTheChartHasTheDashboardForGrafanasSidecar(t *testing.T) {
	data, err := os.ReadFile(top("charts/poolfleet/files/dashboards/poolfleet.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config corev1.ConfigMap
	convert(t, only(t, rendered(t, "monitoring.dashboard.enabled=true"), "ConfigMap", install.Namespace, "poolfleet-dashboard"), &config)
	if config.Labels["grafana_dashboard"] != "1" {
		t.Errorf("it has the labels %v", config.Labels)
	}
	var want, got any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(config.Data["poolfleet.json"]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the dashboard (-file +chart):\n%s", diff)
	}
}
