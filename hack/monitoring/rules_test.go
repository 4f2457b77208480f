// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package monitoring tests what the chart gives to Prometheus and Grafana: with
// Prometheus itself, and against the metrics that our programs have.
package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	rulesName = "poolfleet.yaml"
	runbooks  = "https://github.com/poolfleet/poolfleet/blob/main/docs/runbooks/"
)

// top is a path of the repository: tests run in the directory of their package.
func top(path string) string { return filepath.Join("..", "..", path) }

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func rulesFile(t *testing.T) []byte {
	t.Helper()
	return read(t, top("charts/poolfleet/files/rules/"+rulesName))
}

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(rulesFile(t), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no rules")
	}
	return all
}

// ruleTests are promtool's, by file.
func ruleTests(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("tests of rules are %v, %v", paths, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		files[filepath.Base(path)] = read(t, path)
	}
	return files
}

func TestPrometheusTakesTheRules(t *testing.T) {
	said, err := testenv.Promtool(t, map[string][]byte{rulesName: rulesFile(t)}, "check", "rules", "--lint=all", "--lint-fatal", rulesName)
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestAlertsFireAndAreSilentAsTheyShould(t *testing.T) {
	files := ruleTests(t)
	args := []string{"test", "rules"}
	for name := range files {
		args = append(args, name)
	}
	files[rulesName] = rulesFile(t)
	if said, err := testenv.Promtool(t, files, args...); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestEveryAlertIsTestedForFiringAndForSilence(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for name, data := range ruleTests(t) {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Name   string `json:"alertname"`
					Expect []any  `json:"exp_alerts"`
				} `json:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, test := range file.Tests {
			for _, alert := range test.Alerts {
				fires[alert.Name] = fires[alert.Name] || len(alert.Expect) > 0
				silent[alert.Name] = silent[alert.Name] || len(alert.Expect) == 0
			}
		}
	}
	for _, r := range rules(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s is tested for firing: %t, for silence: %t", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

func TestEveryAlertSaysWhatItIsAndHasARunbook(t *testing.T) {
	pages := map[string]bool{}
	for _, r := range rules(t) {
		pages[r.Alert+".md"] = true
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
			t.Errorf("%s lacks a summary, a description or a severity", r.Alert)
		}
		if url := r.Annotations["runbook_url"]; url != runbooks+r.Alert+".md" {
			t.Errorf("the runbook of %s is at %s", r.Alert, url)
		}
		page, err := os.ReadFile(top("docs/runbooks/" + r.Alert + ".md"))
		if err != nil {
			t.Errorf("%s has no page: %v", r.Alert, err)
			continue
		}
		for _, part := range []string{"# " + r.Alert + "\n", "\n## What it means\n", "\n## See more\n", "\n## What to do\n", "\n## When it is harmless\n"} {
			if !strings.Contains(string(page), part) {
				t.Errorf("the page of %s lacks %q", r.Alert, strings.TrimSpace(part))
			}
		}
	}
	entries, err := os.ReadDir(top("docs/runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !pages[entry.Name()] {
			t.Errorf("docs/runbooks/%s is the page of no alert", entry.Name())
		}
	}
}

func TestRulesUseMetricsThatExist(t *testing.T) {
	exist := testenv.DocumentedMetrics(t)
	for _, r := range rules(t) {
		names := metricsIn(r.Expr)
		if len(names) == 0 {
			t.Errorf("%s uses no metric", r.Alert)
		}
		for _, name := range names {
			if !exist[name] {
				t.Errorf("%s uses %s, which docs/metrics.md does not have", r.Alert, name)
			}
		}
	}
}

var (
	// notMetrics are the parts of a query in which names are not those of metrics.
	notMetrics = regexp.MustCompile(`\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	aName      = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
	keywords   = []string{"and", "or", "unless", "bool", "offset", "group_left", "group_right", "by", "without", "on", "ignoring"}
)

// metricsIn returns the names of the metrics in a query.
func metricsIn(query string) (names []string) {
	query = regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(query, "")
	for _, name := range aName.FindAllString(notMetrics.ReplaceAllString(query, " "), -1) {
		bare := strings.TrimSpace(name)
		if !strings.HasSuffix(name, "(") && !slices.Contains(keywords, bare) && !slices.Contains(names, bare) {
			names = append(names, bare)
		}
	}
	return names
}

func TestMetricsAreFoundInQueries(t *testing.T) {
	query := `sum by (le, namespace) (rate(a_bucket{b=~"c_d"}[5m])) / on (e) group_left (f) max(g_total) > 0.9 and h unless i offset 5m`
	if got, want := metricsIn(query), []string{"a_bucket", "g_total", "h", "i"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
