// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// Describer has metrics that it can name before they have values.
type Describer interface {
	Describe(out chan<- *prometheus.Desc)
}

var (
	// description is how a Desc prints itself; it has no other way to say its parts.
	description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "(.*?)", (?:unit: "[^"]*", )?constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)
	documented  = regexp.MustCompile("(?m)^\\| `([a-zA-Z0-9_]+)` \\|")
)

// DocumentMetrics compares a section of docs/metrics.md, between <!-- section --> and
// <!-- end of section -->, with the metrics of a registry whose names begin with one of
// the prefixes. With update it writes the section.
func DocumentMetrics(t testing.TB, section string, update bool, registry Describer, prefixes ...string) {
	t.Helper()
	path := metricsDocument(t)
	text := readText(t, path)
	begin, end := "<!-- "+section+" -->\n", "<!-- end of "+section+" -->"
	before, rest, ok1 := strings.Cut(text, begin)
	is, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("docs/metrics.md has no section %q", section)
	}
	want := table(t, registry, prefixes)
	if update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Errorf("docs/metrics.md is not what there is; this test writes it with -update (-registry +page):\n%s", diff)
	}
}

func table(t testing.TB, registry Describer, prefixes []string) string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	rows := map[string]string{}
	for description := range descriptions {
		name, row := rowOf(t, description)
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			rows[name] = row
		}
	}
	var text strings.Builder
	text.WriteString("| Metric | Labels | Meaning |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		text.WriteString(rows[name])
	}
	return text.String()
}

func rowOf(t testing.TB, desc *prometheus.Desc) (name, row string) {
	t.Helper()
	parts := description.FindStringSubmatch(desc.String())
	if parts == nil {
		t.Fatalf("a metric describes itself as %s", desc)
	}
	labels := strings.ReplaceAll(parts[3], ",", ", ")
	return parts[1], fmt.Sprintf("| `%s` | %s | %s |\n", parts[1], labels, strings.ReplaceAll(parts[2], `\"`, `"`))
}

// DocumentedMetrics are the names in docs/metrics.md, which other tests compare with
// the metrics that there are, and those of a histogram's series.
func DocumentedMetrics(t testing.TB) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, match := range documented.FindAllStringSubmatch(readText(t, metricsDocument(t)), -1) {
		names[match[1]] = true
		if strings.HasSuffix(match[1], "_duration_seconds") {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[match[1]+suffix] = true
			}
		}
	}
	return names
}

func metricsDocument(t testing.TB) string {
	t.Helper()
	return filepath.Join(repository(t), "docs", "metrics.md")
}

func readText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
