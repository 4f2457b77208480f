// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package metrics holds every metric of the manager, its labels and its help. No
// label ever holds an address, a user or a connection string, and a pool's series
// go with the pool.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

const (
	labelNamespace = "namespace"
	labelPool      = "pool"
	labelUpstream  = "upstream"
)

var (
	poolGranted = poolGauge("poolfleet_pool_granted_connections", "Server connections that the pool's poolers may open now.")
	poolShare   = poolGauge("poolfleet_pool_share_connections", "Server connections that the pool gets once the pools of its server have settled.")
	poolReady   = poolGauge("poolfleet_pool_ready", "1 while clients can connect through the pool's published URL, else 0.")
	poolPoolers = poolGauge("poolfleet_pool_ready_poolers", "Poolers of the pool that accept clients.")

	upstreamMax     = upstreamGauge("poolfleet_upstream_max_connections", "The server's max_connections.")
	upstreamBudget  = upstreamGauge("poolfleet_upstream_budget_connections", "Server connections that all pools together may take.")
	upstreamGranted = upstreamGauge("poolfleet_upstream_granted_connections", "Server connections that all pools together may open now.")
	upstreamHeld    = upstreamGauge("poolfleet_upstream_held_connections", "Server connections that all pools together may still hold.")
)

func poolGauge(name, help string) *prometheus.GaugeVec {
	return gauge(name, help, labelNamespace, labelPool)
}

func upstreamGauge(name, help string) *prometheus.GaugeVec {
	return gauge(name, help, labelUpstream)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	metrics.Registry.MustRegister(g)
	return g
}

// ObservePool keeps the metrics of a pool at what its status says.
func ObservePool(namespace, pool string, s poolv1.ConnectionPoolStatus) {
	poolGranted.WithLabelValues(namespace, pool).Set(number(s.ServerConnections.Granted))
	poolShare.WithLabelValues(namespace, pool).Set(number(s.ServerConnections.Share))
	poolPoolers.WithLabelValues(namespace, pool).Set(number(s.ReadyReplicas))
	ready := 0.0
	if meta.IsStatusConditionTrue(s.Conditions, poolv1.ConditionReady) {
		ready = 1
	}
	poolReady.WithLabelValues(namespace, pool).Set(ready)
}

// ForgetPool deletes the series of a pool that is gone.
func ForgetPool(namespace, pool string) {
	for _, g := range []*prometheus.GaugeVec{poolGranted, poolShare, poolReady, poolPoolers} {
		g.DeleteLabelValues(namespace, pool)
	}
}

// ObserveUpstream keeps the metrics of a server at what its account says.
func ObserveUpstream(name string, s poolv1.UpstreamStatus) {
	upstreamMax.WithLabelValues(name).Set(number(s.Capacity.MaxConnections))
	upstreamBudget.WithLabelValues(name).Set(number(s.Capacity.Budget))
	upstreamGranted.WithLabelValues(name).Set(number(s.Granted))
	held := 0.0
	for _, e := range s.Ledger {
		held += number(e.Held)
	}
	upstreamHeld.WithLabelValues(name).Set(held)
}

// ForgetUpstream deletes the series of a server that is gone.
func ForgetUpstream(name string) {
	for _, g := range []*prometheus.GaugeVec{upstreamMax, upstreamBudget, upstreamGranted, upstreamHeld} {
		g.DeleteLabelValues(name)
	}
}

func number(v *int32) float64 {
	if v == nil {
		return 0
	}
	return float64(*v)
}
