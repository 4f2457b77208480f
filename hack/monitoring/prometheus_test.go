// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// patience is for a busy machine; nothing waits for it when all is well.
const patience = 2 * time.Minute

// documentedRow is a metric of docs/metrics.md with its labels.
var documentedRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z_, ]*) \\|")

// aFleet serves every metric of docs/metrics.md, with the labels that it has there. What
// counts has grown with each scrape.
func aFleet(t *testing.T) *httptest.Server {
	t.Helper()
	rows := documentedRow.FindAllStringSubmatch(string(read(t, top("docs/metrics.md"))), -1)
	if len(rows) < 50 {
		t.Fatalf("docs/metrics.md has %d metrics, which can not be all", len(rows))
	}
	var scrapes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := scrapes.Add(1)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, row := range rows {
			expose(w, row[1], row[2], n)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func expose(w http.ResponseWriter, name, labels string, n int64) {
	var pairs []string
	for label := range strings.SplitSeq(strings.ReplaceAll(labels, " ", ""), ",") {
		if label != "" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", label, map[string]string{"namespace": "shop", "pool": "web"}[label]))
		}
	}
	set := strings.Join(pairs, ",")
	if strings.HasSuffix(name, "_duration_seconds") {
		_, _ = fmt.Fprintf(w, "%[1]s_bucket{%[2]s,le=\"1\"} %[3]d\n%[1]s_bucket{%[2]s,le=\"+Inf\"} %[3]d\n%[1]s_sum{%[2]s} %[3]d\n%[1]s_count{%[2]s} %[3]d\n", name, set, n)
		return
	}
	value := int64(1)
	if strings.HasSuffix(name, "_total") {
		value = n
	}
	_, _ = fmt.Fprintf(w, "%s{%s} %d\n", name, set, value)
}

// aPrometheus scrapes a server every second, as docs/metrics.md says how, and answers at
// the address that is returned.
func aPrometheus(t *testing.T, target *httptest.Server) string {
	t.Helper()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: poolfleet
    honor_labels: true
    static_configs: [{targets: [%q], labels: {namespace: shop, pool: web, pod: web-1}}]
`, rulesName, target.Listener.Addr())
	return testenv.Prometheus(t, func(string) map[string][]byte {
		return map[string][]byte{"prometheus.yml": []byte(config), rulesName: rulesFile(t)}
	})
}

// ask returns how many series answer a query.
func ask(t *testing.T, prometheus, query string) (int, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, prometheus+"/api/v1/query?query="+url.QueryEscape(query), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		t.Fatalf("Prometheus says of %s: %s", query, answer.Error)
	}
	return len(answer.Data.Result), nil
}

func TestEveryPanelShowsSomethingOfAFleet(t *testing.T) {
	prometheus := aPrometheus(t, aFleet(t))
	deadline := time.Now().Add(patience)
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			for {
				series, err := ask(t, prometheus, query(target.Expr, "30s"))
				if err == nil && series > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("panel %q shows nothing: %s (%v)", p.Title, target.Expr, err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}
