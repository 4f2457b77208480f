// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import "github.com/prometheus/client_golang/prometheus"

var openDesc = prometheus.NewDesc("poolfleet_edge_open_transactions", "Interactive transactions that are open at this replica, or about to be.", nil, nil)

// Describe is for Prometheus.
func (*Transactions) Describe(out chan<- *prometheus.Desc) { out <- openDesc }

// Collect shows Open to Prometheus.
func (t *Transactions) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(t.Open()))
}
