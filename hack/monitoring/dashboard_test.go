// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// panel is one of the dashboard's.
type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct{ Expr, LegendFormat string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(read(t, top("charts/poolfleet/files/dashboards/poolfleet.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) < 20 {
		t.Fatalf("there are %d panels, which can not be all", len(dashboard.Panels))
	}
	return dashboard.Panels
}

// query is what Grafana asks where every variable is All.
func query(expr, interval string) string {
	return strings.NewReplacer("$__rate_interval", interval, "$upstream", ".*", "$namespace", ".*", "$pool", ".*").Replace(expr)
}

func TestPrometheusTakesTheDashboardsQueries(t *testing.T) {
	type recording struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var all []recording
	for _, p := range panels(t) {
		for i, target := range p.Targets {
			all = append(all, recording{fmt.Sprintf("panel_%d_%d", p.ID, i), query(target.Expr, "5m")})
		}
	}
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": all}}})
	if err != nil {
		t.Fatal(err)
	}
	if said, err := testenv.Promtool(t, map[string][]byte{"panels.yaml": file}, "check", "rules", "panels.yaml"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestTheDashboardUsesMetricsThatExist(t *testing.T) {
	exist := testenv.DocumentedMetrics(t)
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			names := metricsIn(query(target.Expr, "5m"))
			if len(names) == 0 {
				t.Errorf("panel %q asks for no metric", p.Title)
			}
			for _, name := range names {
				if !exist[name] {
					t.Errorf("panel %q asks for %s, which docs/metrics.md does not have", p.Title, name)
				}
			}
		}
	}
}

func TestPanelsSayWhatTheyShowAndLieBesideEachOther(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range panels(t) {
		if p.Title == "" || ids[p.ID] || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %d (%q) lacks a title, a number of its own, a description, a query or the chosen data source", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("panel %q lies over %q, or out of sight", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
