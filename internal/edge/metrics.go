// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the gateway's. Their pools are those of the Directory and no others: what
// strangers ask for in vain has an empty pool.
type Metrics struct {
	directory *Directory
	registry  *prometheus.Registry

	requests, received, sent, failedLogins *prometheus.CounterVec
	durations                              *prometheus.HistogramVec

	mu   sync.Mutex
	seen map[poolID]struct{}
}

type poolID struct{ namespace, name string }

// NewMetrics counts for the pools of a Directory. It shows what the limiter admits and
// how many WebSockets there are.
func NewMetrics(directory *Directory, limiter *Limiter, sockets func() int) *Metrics {
	m := &Metrics{directory: directory, registry: prometheus.NewRegistry(), seen: map[poolID]struct{}{}}
	m.requests = counter("poolfleet_edge_requests_total", "Requests and WebSockets that have ended, by HTTP status or the SQLSTATE they were ended with.", "kind", "code")
	m.received = counter("poolfleet_edge_received_bytes_total", "Bytes of request bodies and WebSocket messages from clients.", "kind")
	m.sent = counter("poolfleet_edge_sent_bytes_total", "Bytes of answers and WebSocket messages to clients.", "kind")
	m.failedLogins = counter("poolfleet_edge_failed_logins_total", "Logins with a user or password that the pool does not take.")
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "poolfleet_edge_request_duration_seconds", Help: "How long HTTP requests took.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"namespace", "pool"})
	m.registry.MustRegister(m.requests, m.received, m.sent, m.failedLogins, m.durations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		inFlight{directory: directory, limiter: limiter},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "poolfleet_edge_open_websockets", Help: "WebSockets that are open."},
			func() float64 { return float64(sockets()) }))
	return m
}

// Describe implements a part of prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) { m.registry.Describe(out) }

// Show adds what another part of the gateway shows.
func (m *Metrics) Show(more prometheus.Collector) { m.registry.MustRegister(more) }

func counter(name, help string, more ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace", "pool"}, more...))
}

func (m *Metrics) count(v *visit) {
	namespace, pool := m.labels(v.pool)
	m.requests.WithLabelValues(namespace, pool, v.kind, codeLabel(v)).Inc()
	m.received.WithLabelValues(namespace, pool, v.kind).Add(float64(v.received))
	m.sent.WithLabelValues(namespace, pool, v.kind).Add(float64(v.sent))
	if v.kind == kindHTTP || v.kind == kindAccelerate {
		m.durations.WithLabelValues(namespace, pool).Observe(v.duration.Seconds())
	}
}

// codeLabel is a code that the gateway itself has: a server can make up any.
func codeLabel(v *visit) string {
	if v.kind != kindWebSocket || len(v.code) != sqlStateLength || slices.Contains(ownCodes, v.code) {
		return v.code
	}
	return "other"
}

const sqlStateLength = 5

// ownCodes are the SQLSTATEs that the gateway ends WebSockets with.
var ownCodes = []string{
	codeCompletion, codeConnectionRejected, codeConnectionFailure, codeProtocolViolation, codeUnsupported, codeInvalidAuthorization, codeInvalidPassword,
	codeUnknownDatabase, codeTooMany, codeLimit, codeCanceled, codeShutdown, codeNotNow, codeIdle,
}

// FailedLogin counts a login with a wrong user or password; see Door.Failed.
func (m *Metrics) FailedLogin(pool Pool) {
	m.failedLogins.WithLabelValues(m.labels(pool)).Inc()
}

// labels remembers a pool, to forget its series with it.
func (m *Metrics) labels(pool Pool) (namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[poolID{pool.Namespace, pool.Name}] = struct{}{}
	return pool.Namespace, pool.Name
}

// forget deletes the series of pools that are served no longer.
func (m *Metrics) forget() {
	served := map[poolID]struct{}{{}: {}}
	for _, pool := range m.directory.all() {
		served[poolID{pool.Namespace, pool.Name}] = struct{}{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.seen {
		if _, stays := served[id]; stays {
			continue
		}
		delete(m.seen, id)
		labels := prometheus.Labels{"namespace": id.namespace, "pool": id.name}
		for _, vector := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.requests, m.received, m.sent, m.failedLogins, m.durations} {
			vector.DeletePartialMatch(labels)
		}
	}
}

func (m *Metrics) handler() http.Handler {
	show := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.forget()
		show.ServeHTTP(w, r)
	})
}

// inFlight shows what the pools have under way.
type inFlight struct {
	directory *Directory
	limiter   *Limiter
}

var inFlightDesc = prometheus.NewDesc("poolfleet_edge_in_flight", "Requests and WebSockets of the pool that are under way.", []string{"namespace", "pool"}, nil)

func (inFlight) Describe(out chan<- *prometheus.Desc) { out <- inFlightDesc }

func (f inFlight) Collect(out chan<- prometheus.Metric) {
	for label, pool := range f.directory.all() {
		out <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(f.limiter.underWay(label)), pool.Namespace, pool.Name)
	}
}
