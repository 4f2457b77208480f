// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import "github.com/prometheus/client_golang/prometheus"

// What a cache shows. No label says whose results they are.
var (
	resultsDesc       = prometheus.NewDesc("poolfleet_edge_cache_results_total", "Results given to clients that asked for a cache, by where they came from: ttl and swr are hits.", []string{"status"}, nil)
	refreshesDesc     = prometheus.NewDesc("poolfleet_edge_cache_refreshes_total", "Results fetched in the background.", nil, nil)
	failedDesc        = prometheus.NewDesc("poolfleet_edge_cache_failed_refreshes_total", "Results that could not be fetched in the background.", nil, nil)
	invalidationsDesc = prometheus.NewDesc("poolfleet_edge_cache_invalidations_total", "Requests to forget results.", nil, nil)
	entriesDesc       = prometheus.NewDesc("poolfleet_edge_cache_entries", "Results that are kept.", nil, nil)
	bytesDesc         = prometheus.NewDesc("poolfleet_edge_cache_bytes", "Bytes of memory that kept results take.", nil, nil)
)

// Describe is for Prometheus.
func (*Cache) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{resultsDesc, refreshesDesc, failedDesc, invalidationsDesc, entriesDesc, bytesDesc} {
		out <- desc
	}
}

// Collect shows Stats to Prometheus.
func (c *Cache) Collect(out chan<- prometheus.Metric) {
	now := c.Stats()
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	count(resultsDesc, now.Fresh, string(Fresh))
	count(resultsDesc, now.Stale, string(Stale))
	count(resultsDesc, now.Misses, string(Miss))
	count(refreshesDesc, now.Refreshes)
	count(failedDesc, now.FailedRefreshes)
	count(invalidationsDesc, now.Invalidations)
	out <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(now.Entries))
	out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(now.Bytes))
}
