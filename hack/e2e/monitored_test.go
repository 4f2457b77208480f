// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/picture"
)

var monitoredPicture = flag.String("monitored.picture", "", "in TestMonitored, where to draw the dashboard's panels after some minutes of load")

// dashboardPanel is what Grafana is told of a panel.
type dashboardPanel struct {
	ID          int
	Type, Title string
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit   string
			Custom struct{ Stacking struct{ Mode string } }
		}
	}
}

func dashboardPanels(t *testing.T) (panels []dashboardPanel) {
	t.Helper()
	var dashboard struct{ Panels []dashboardPanel }
	if err := json.Unmarshal(read(t, "charts/poolfleet/files/dashboards/poolfleet.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" {
			panels = append(panels, panel)
		}
	}
	return panels
}

// asked is a panel's query where every variable is All.
func asked(expr string) string {
	return strings.NewReplacer("$__rate_interval", "5s", "$upstream", ".*", "$namespace", ".*", "$pool", ".*").Replace(expr)
}

// TestMonitored has a real Prometheus watch two pools on one server.
func TestMonitored(t *testing.T) {
	w := connect(t)
	w.install(t)
	s := w.begin(t)
	guest := s.twoPools(t)
	prometheus := startPrometheus(t)
	t.Run("every program is scraped", func(t *testing.T) { s.scraped(t, prometheus, guest) })
	from := time.Now()
	stop := s.busy(t, s.pool, 80)
	t.Run("every panel shows something", func(t *testing.T) { panelsShow(t, prometheus) })
	t.Run("the numbers are those of the status", func(t *testing.T) { s.numbersAgree(t, prometheus) })
	t.Run("the alerts are there and none fires", func(t *testing.T) { alertsRest(t, prometheus) })
	if *monitoredPicture != "" {
		s.play(t, guest)
		s.draw(t, prometheus, from, time.Now())
	}
	stop()
	s.remove(t, guest)
	s.remove(t, s.pool)
	if err := w.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// twoPools makes the story's pool and another one on its server.
func (s *story) twoPools(t *testing.T) (guest *poolv1.ConnectionPool) {
	t.Helper()
	guest = aPool(s.namespace, "jobs", withReplicas(1))
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, aSecret(s.namespace, "jobs-db", s.server.role(t, "jobs", "")))
	s.create(t, s.pool)
	s.create(t, guest)
	s.awaitReady(t, s.pool)
	s.awaitReady(t, guest)
	return guest
}

func (s *story) scraped(t *testing.T, p prometheus, guest *poolv1.ConnectionPool) {
	t.Helper()
	pods := len(s.poolers(t, s.pool)) + len(s.poolers(t, guest))
	eventually(t, "the poolers and the manager are scraped", func() error {
		for query, want := range map[string]float64{
			fmt.Sprintf("count(up{namespace=%q} == 1)", s.namespace):                                      float64(pods),
			fmt.Sprintf("count(count by (pool) (up{namespace=%q, pool=~`shop|jobs`} == 1))", s.namespace): 2,
			"count(count by (job) (poolfleet_upstream_budget_connections))":                               1,
		} {
			got, err := p.number(t, query)
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("%s is %g, want %g", query, got, want)
			}
		}
		return nil
	})
	if down, err := p.query(t, "up == 0"); err != nil || len(down) > 0 {
		t.Errorf("not scraped: %v, %v", down, err)
	}
}

// panelsShow leaves out those of the gateway, which is not installed.
func panelsShow(t *testing.T, p prometheus) {
	t.Helper()
	for _, panel := range dashboardPanels(t) {
		for _, target := range panel.Targets {
			if strings.Contains(target.Expr, "poolfleet_edge_") {
				continue
			}
			eventually(t, fmt.Sprintf("panel %q shows something", panel.Title), func() error {
				found, err := p.query(t, asked(target.Expr))
				if err == nil && len(found) == 0 && !quietly(target.Expr) {
					err = errors.New("it shows nothing of " + target.Expr)
				}
				return err
			})
		}
	}
}

// quietly says that a query has an answer only where something is amiss.
func quietly(expr string) bool {
	return strings.Contains(expr, "oldest_transaction") || strings.Contains(expr, "refused_logins")
}

// numbersAgree compares what rests with the account of the server.
func (s *story) numbersAgree(t *testing.T, p prometheus) {
	t.Helper()
	eventually(t, "what Prometheus knows is what the Upstream says", func() error {
		upstream := s.upstreamOf(t, s.pool)
		for metric, want := range map[string]int32{
			"poolfleet_upstream_max_connections":    *upstream.Status.Capacity.MaxConnections,
			"poolfleet_upstream_budget_connections": *upstream.Status.Capacity.Budget,
		} {
			got, err := p.number(t, fmt.Sprintf("%s{upstream=%q}", metric, upstream.Name))
			if err != nil {
				return err
			}
			if got != float64(want) {
				return fmt.Errorf("%s is %g, the status has %d", metric, got, want)
			}
		}
		return nil
	})
}

func alertsRest(t *testing.T, p prometheus) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State, LastError string }
		}
	}
	if err := p.get(t, "rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			count++
			if rule.State == "firing" || rule.LastError != "" {
				t.Errorf("%s is %s %s", rule.Name, rule.State, rule.LastError)
			}
		}
	}
	if want := len(regexp.MustCompile(`(?m)^ *- alert:`).FindAll(read(t, "charts/poolfleet/files/rules/poolfleet.yaml"), -1)); count < want || want == 0 {
		t.Errorf("Prometheus has %d rules, the file %d", count, want)
	}
}

// play has the other pool's clients come for their share and leave again, for a picture.
func (s *story) play(t *testing.T, guest *poolv1.ConnectionPool) {
	t.Helper()
	time.Sleep(50 * time.Second)
	stop := s.busy(t, guest, 60)
	time.Sleep(70 * time.Second)
	stop()
	time.Sleep(70 * time.Second)
}

// drawn are the panels of the picture, by what the dashboard calls them.
var drawn = []string{"Who may hold the server's connections", "Queries", "Lent and borrowed", "Clients that wait", "Mean wait of a transaction", "Grants that changed"}

func (s *story) draw(t *testing.T, p prometheus, from, to time.Time) {
	t.Helper()
	ours := strings.NewReplacer("$upstream", s.upstreamOf(t, s.pool).Name, "$namespace", s.namespace)
	panels := make([]picture.Panel, len(drawn))
	for _, panel := range dashboardPanels(t) {
		at := slices.Index(drawn, panel.Title)
		if at < 0 || panel.Type != "timeseries" {
			continue
		}
		panels[at] = picture.Panel{Title: panel.Title, Unit: panel.FieldConfig.Defaults.Unit}
		for i, target := range panel.Targets {
			found, err := p.between(t, asked(ours.Replace(target.Expr)), from, to)
			if err != nil {
				t.Fatal(err)
			}
			for _, series := range found {
				panels[at].Series = append(panels[at].Series, picture.Series{
					Name:    legend(target.LegendFormat, series.Metric),
					Stacked: i == 0 && panel.FieldConfig.Defaults.Custom.Stacking.Mode == "normal",
					Points:  series.points(),
				})
			}
		}
	}
	if err := os.WriteFile(*monitoredPicture, []byte(picture.SVG(panels, from, to)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// legend is a series' name, as Grafana makes it.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		if strings.HasPrefix(value, "e2e-") {
			value = "shop" // A test's namespace has a name by chance.
		}
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}
