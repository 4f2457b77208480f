// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/poolfleet/poolfleet/internal/contract"
)

const (
	// scrapeTime is how long one pooler may take to answer.
	scrapeTime = 3 * time.Second
	// scrapesAtOnce bounds what a fleet costs the API server.
	scrapesAtOnce = 16
)

// Names are those of prometheus-community's pgbouncer_exporter, which poolers use.
const (
	activeClients  = "pgbouncer_pools_client_active_connections"
	waitingClients = "pgbouncer_pools_client_waiting_connections"
	queriesTotal   = "pgbouncer_stats_totals_queries_pooled_total"
	querySeconds   = "pgbouncer_stats_totals_queries_duration_seconds_total"
)

// sample is what one pooler said of itself.
type sample struct {
	at               time.Time
	clients, waiting int64
	// queries and seconds count since PgBouncer started.
	queries, seconds float64
}

// traffic is what goes through a pooler or a pool. What is not known is nil.
type traffic struct {
	// Clients are the client connections, those that wait included.
	Clients *int64 `json:"clients,omitempty"`
	// Waiting are the clients that wait for a server connection.
	Waiting          *int64   `json:"waiting,omitempty"`
	QueriesPerSecond *float64 `json:"queriesPerSecond,omitempty"`
	// LatencyMilliseconds is how long the server took for a query in the mean.
	LatencyMilliseconds *float64 `json:"latencyMilliseconds,omitempty"`
}

// parseSample reads a pooler's /metrics. A PgBouncer that does not run has no clients.
func parseSample(text []byte, at time.Time) (sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return sample{}, fmt.Errorf("reading the pooler's figures: %w", err)
	}
	sum := func(name string) (total float64) {
		for _, metric := range families[name].GetMetric() {
			if !ofConsole(metric) {
				total += metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + metric.GetUntyped().GetValue()
			}
		}
		return total
	}
	waiting := sum(waitingClients)
	return sample{
		at: at, clients: int64(sum(activeClients) + waiting), waiting: int64(waiting),
		queries: sum(queriesTotal), seconds: sum(querySeconds),
	}, nil
}

// ofConsole is whether a figure is of PgBouncer's console, where there are no users' clients.
func ofConsole(metric *dto.Metric) bool {
	return slices.ContainsFunc(metric.GetLabel(), func(label *dto.LabelPair) bool {
		return label.GetName() == "database" && label.GetValue() == "pgbouncer"
	})
}

// between is the traffic from one sample to the next. One sample alone, or a PgBouncer
// that was started in between, tells of clients only.
func between(first *sample, last sample) traffic {
	t := traffic{Clients: new(last.clients), Waiting: new(last.waiting)}
	if first == nil || !last.at.After(first.at) || last.queries < first.queries {
		return t
	}
	queries := last.queries - first.queries
	t.QueriesPerSecond = new(queries / last.at.Sub(first.at).Seconds())
	if queries > 0 {
		t.LatencyMilliseconds = new(max(last.seconds-first.seconds, 0) / queries * 1000)
	}
	return t
}

// sumOf adds up what poolers say. Latency is the mean over all queries.
func sumOf(all []traffic) (sum traffic) {
	var weighed, queries float64
	for _, t := range all {
		sum.Clients, sum.Waiting = added(sum.Clients, t.Clients), added(sum.Waiting, t.Waiting)
		sum.QueriesPerSecond = added(sum.QueriesPerSecond, t.QueriesPerSecond)
		if t.LatencyMilliseconds != nil {
			weighed += *t.LatencyMilliseconds * *t.QueriesPerSecond
			queries += *t.QueriesPerSecond
		}
	}
	if queries > 0 {
		sum.LatencyMilliseconds = new(weighed / queries)
	}
	return sum
}

func added[N int64 | float64](a, b *N) *N {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return new(*a + *b)
}

// scrape asks poolers for their figures, by pod UID, through the API server and with
// the user's own rights. silent says of each pooler that did not answer why.
func (s *session) scrape(ctx context.Context, pods []corev1.Pod) (samples map[string]sample, silent []error) {
	samples = map[string]sample{}
	var mu sync.Mutex
	var all sync.WaitGroup
	turns := make(chan struct{}, scrapesAtOnce)
	for _, pod := range pods {
		if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			continue
		}
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			one, err := s.scrapeOne(ctx, pod)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, err)
				return
			}
			samples[string(pod.UID)] = one
		})
	}
	all.Wait()
	slices.SortFunc(silent, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return samples, silent
}

func (s *session) scrapeOne(ctx context.Context, pod corev1.Pod) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	port := strconv.Itoa(contract.MetricsPort)
	text, err := s.core.Pods(pod.Namespace).ProxyGet("http", pod.Name, port, contract.MetricsPath, nil).DoRaw(ctx)
	if apierrors.IsForbidden(err) {
		return sample{}, fmt.Errorf("you may not get pods/proxy in namespace %s", pod.Namespace)
	}
	if apierrors.IsServiceUnavailable(err) {
		return sample{}, fmt.Errorf("pod %s does not answer the API server on port %s: is its image older than this plugin, or is there a NetworkPolicy?", pod.Name, port)
	}
	if err != nil {
		return sample{}, fmt.Errorf("pod %s: %w", pod.Name, err)
	}
	return parseSample(text, s.now())
}

// silence says why figures are missing, in one line.
func silence(silent []error) string {
	if len(silent) == 0 {
		return ""
	}
	more := ""
	if len(silent) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(silent)-1)
	}
	return fmt.Sprintf("Clients, queries and latency are incomplete: %v%s", silent[0], more)
}
