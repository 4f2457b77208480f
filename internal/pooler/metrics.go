// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// mostScrapes is how many may be under way: each has a connection to the console.
const mostScrapes = 4

// MetricsHandler serves /metrics. Whoever asks may know the figures: they hold names
// of databases and users, and no password or address.
func (s *Supervisor) MetricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Metrics())
	mux := http.NewServeMux()
	mux.Handle("GET "+contract.MetricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: mostScrapes,
	}))
	return mux
}

// Metrics are the figures that MetricsHandler serves.
func (s *Supervisor) Metrics() prometheus.Collector { return collector{s} }

// collector asks PgBouncer's console once for each scrape.
type collector struct{ s *Supervisor }

// figure is one of the supervisor's own.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(state, contract.Status) float64
}

func gauge(name, help string, value func(state, contract.Status) float64) figure {
	return figure{prometheus.NewDesc("poolfleet_pooler_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(tally) int64) figure {
	return figure{
		prometheus.NewDesc("poolfleet_pooler_"+name, help, nil, nil), prometheus.CounterValue,
		func(v state, _ contract.Status) float64 { return float64(value(v.tally)) },
	}
}

// always are those that are known whether PgBouncer answers or not.
var always = []figure{
	gauge("granted_connections", "Server connections of the grant in force.", func(v state, _ contract.Status) float64 { return float64(v.granted) }),
	gauge("grant_generation", "Generation of the grant in force; 0 before the first.", func(_ state, s contract.Status) float64 { return float64(s.Gen) }),
	gauge("serving", "1 while PgBouncer runs what it should and takes clients, else 0.", func(v state, _ contract.Status) float64 { return truth(v.serving) }),
	gauge("draining", "1 once the pod was told to end, else 0.", func(_ state, s contract.Status) float64 { return truth(s.Draining) }),
	gauge("configuration_behind", "1 while the newest grant or configuration is not in force for a reason that the log says, else 0.", func(_ state, s contract.Status) float64 { return truth(s.Problem != "") }),
	{
		prometheus.NewDesc("poolfleet_pooler_refused_logins_total", "Logins that the server refused because it had no room.", nil, nil), prometheus.CounterValue,
		func(_ state, s contract.Status) float64 { return float64(s.Refused) },
	},
	counter("pgbouncer_starts_total", "Starts of PgBouncer since the container started.", func(t tally) int64 { return t.starts }),
	counter("pgbouncer_crashes_total", "Times that PgBouncer has ended by itself.", func(t tally) int64 { return t.ends }),
	counter("orphaned_connections_total", "Server connections that were left behind by a PgBouncer that ended by itself; the server closes them.", func(t tally) int64 { return t.orphaned }),
	counter("reloads_total", "Times that PgBouncer was told to read its files again.", func(t tally) int64 { return t.reloads }),
	counter("failed_reloads_total", "Those that PgBouncer refused or did not answer.", func(t tally) int64 { return t.failedReloads }),
}

// asked are those that PgBouncer must answer for. One that does not run has none of
// them, so then they are 0.
var asked = []figure{
	gauge("held_connections", "Server connections that the pooler may still hold: its limits, or those it has where they are more.", func(_ state, s contract.Status) float64 { return float64(max(s.Cap, s.Current)) }),
	gauge("server_connections", "Server connections that PgBouncer has, logins included.", func(_ state, s contract.Status) float64 { return float64(s.Current) }),
	gauge("excess_connections", "Server connections above the limits, which are waited for to end.", func(_ state, s contract.Status) float64 { return float64(excess(s)) }),
	gauge("starved_clients", "Clients that have waited for a second because the pooler has no more server connections.", func(_ state, s contract.Status) float64 { return float64(s.Starved) }),
	gauge("paused", "1 while every database is paused, as the pool asks, else 0.", func(_ state, s contract.Status) float64 { return truth(s.Paused) }),
}

var (
	configDesc = prometheus.NewDesc("poolfleet_pooler_configuration_info", "1, with the revision of the configuration in force; absent before the first.", []string{"revision"}, nil)
	upDesc     = prometheus.NewDesc("pgbouncer_up", "1 while PgBouncer runs and answers, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(out chan<- *prometheus.Desc) {
	out <- configDesc
	out <- upDesc
	for _, f := range append(append([]figure{}, always...), asked...) {
		out <- f.desc
	}
	describePgBouncer(out)
}

// Collect implements prometheus.Collector. A PgBouncer that does not answer costs it
// no more than the time limit of the console.
func (c collector) Collect(out chan<- prometheus.Metric) {
	v := c.s.view.look()
	status, answers := v.status, false
	if v.running {
		if figures, err := c.s.admin.Figures(context.Background()); err == nil {
			status, answers = v.account(figures.Sample), true
			collectPgBouncer(figures, out)
		}
	}
	told := always
	if answers || !v.running {
		told = append(append([]figure{}, always...), asked...)
	}
	for _, f := range told {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(v, status))
	}
	out <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, truth(answers))
	if status.Config != "" {
		out <- prometheus.MustNewConstMetric(configDesc, prometheus.GaugeValue, 1, status.Config)
	}
}

func excess(s contract.Status) int32 {
	if s.LettingGo == nil {
		return 0
	}
	return s.LettingGo.Connections
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
