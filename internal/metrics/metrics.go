// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package metrics holds every metric of the manager, its labels and its help. No
// label ever holds an address, a user or a connection string, and the series of a
// pool and of a server go with them.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

const (
	labelNamespace = "namespace"
	labelPool      = "pool"
	labelUpstream  = "upstream"
)

var (
	poolVectors     []vector
	upstreamVectors []vector
)

var (
	poolReady   = poolGauge("poolfleet_pool_ready", "1 while clients can connect through the pool's published URL, else 0.")
	poolEdge    = poolGauge("poolfleet_pool_edge_published", "1 while the gateway serves the pool under its name, 0 while it does not though the pool asks; absent where it does not ask.")
	poolPoolers = poolGauge("poolfleet_pool_ready_poolers", "Poolers of the pool that accept clients.")

	poolSuspended   = poolGauge("poolfleet_pool_suspended", "1 while the pool is not ready because its spec asks for that, by a pause or by no poolers, else 0.")
	poolConfigured  = poolGauge("poolfleet_pool_configuration_applied", "1 while every pooler runs the newest configuration, 0 while one does not; absent while that is not known.")
	poolCertificate = poolGauge("poolfleet_pool_certificate_expiry_timestamp_seconds", "When the certificate that clients are shown ends, in Unix time; absent without one.")
	poolServer      = serverOfPool("poolfleet_pool_upstream_info", "1, with the server that the pool is on.")

	poolEntitled = poolGauge("poolfleet_pool_entitled_connections", "Server connections that are the pool's part before anything is lent.")
	poolMinimum  = poolGauge("poolfleet_pool_minimum_connections", "Server connections that the pool is kept whatever others want.")
	poolShare    = poolGauge("poolfleet_pool_share_connections", "Server connections that the pool gets once the pools of its server have settled, loans included.")
	poolBorrowed = poolGauge("poolfleet_pool_borrowed_connections", "Server connections of the pool's share that other pools lend to it.")
	poolLent     = poolGauge("poolfleet_pool_lent_connections", "Server connections that the pool lends to others.")
	poolGranted  = poolGauge("poolfleet_pool_granted_connections", "Server connections that the pool's poolers may open now.")
	poolHeld     = poolGauge("poolfleet_pool_held_connections", "Server connections that the pool's poolers may still hold.")
	poolNeed     = poolGauge("poolfleet_pool_needed_connections", "Server connections that the pool's clients have use for; absent while that is not known.")
	poolStarved  = poolGauge("poolfleet_pool_starved_clients", "Clients that wait for a server connection because the pool has no more.")
	poolWaiting  = poolGauge("poolfleet_pool_waiting_poolers", "Poolers of the pool that have no server connections yet.")
	poolOldest   = poolGauge("poolfleet_pool_oldest_transaction_age_seconds", "Age of the oldest transaction that holds up a hand-over from the pool; 0 without one.")

	poolRefused = poolCounter("poolfleet_pool_refused_logins_total", "Logins that the server refused because it had no room.")
	poolRaised  = poolCounter("poolfleet_pool_raised_grants_total", "Grants of the pool's pods that were raised.")
	poolLowered = poolCounter("poolfleet_pool_lowered_grants_total", "Grants of the pool's pods that were lowered.")

	upstreamReachable = upstreamGauge("poolfleet_upstream_reachable", "1 while the server answered the last look at it, 0 while it did not; absent while that is not known.")
	upstreamMax       = upstreamGauge("poolfleet_upstream_max_connections", "The server's max_connections.")
	upstreamSuperuser = upstreamGauge("poolfleet_upstream_superuser_reserved_connections", "The server's superuser_reserved_connections.")
	upstreamReserved  = upstreamGauge("poolfleet_upstream_reserved_connections", "The server's reserved_connections.")
	upstreamDirect    = upstreamGauge("poolfleet_upstream_direct_connections", "Server connections that are left to others than pools.")
	upstreamBudget    = upstreamGauge("poolfleet_upstream_budget_connections", "Server connections that all pools together may take, before others are taken off.")
	upstreamGranted   = upstreamGauge("poolfleet_upstream_granted_connections", "Server connections that all pools together may open now.")
	upstreamHeld      = upstreamGauge("poolfleet_upstream_held_connections", "Server connections that all pools together may still hold.")
	upstreamUsed      = upstreamGauge("poolfleet_upstream_used_connections", "Client connections that the server has, as it shows them.")
	upstreamOthers    = upstreamGauge("poolfleet_upstream_other_connections", "Client connections of the server that are not the pools'.")
	upstreamDeducted  = upstreamGauge("poolfleet_upstream_deducted_connections", "Client connections of others that come off the budget.")

	upstreamConflicts = upstreamCounter("poolfleet_upstream_conflicts_total", "Passes over the server's ledger that ended because someone else had written.")
)

// vector is a metric whose series can be deleted.
type vector interface {
	prometheus.Collector
	DeleteLabelValues(values ...string) bool
}

func poolGauge(name, help string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{labelNamespace, labelPool})
	poolVectors = append(poolVectors, register(g))
	return g
}

func poolCounter(name, help string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{labelNamespace, labelPool})
	poolVectors = append(poolVectors, register(c))
	return c
}

// ofPool is a metric of pools that has labels beside a pool's.
type ofPool struct{ *prometheus.GaugeVec }

// DeleteLabelValues deletes the series of a pool, whatever their other labels.
func (v ofPool) DeleteLabelValues(values ...string) bool {
	return v.DeletePartialMatch(prometheus.Labels{labelNamespace: values[0], labelPool: values[1]}) > 0
}

func serverOfPool(name, help string) ofPool {
	v := ofPool{prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{labelNamespace, labelPool, labelUpstream})}
	poolVectors = append(poolVectors, register(v))
	return v
}

func upstreamGauge(name, help string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{labelUpstream})
	upstreamVectors = append(upstreamVectors, register(g))
	return g
}

func upstreamCounter(name, help string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{labelUpstream})
	upstreamVectors = append(upstreamVectors, register(c))
	return c
}

func register(v vector) vector {
	metrics.Registry.MustRegister(v)
	return v
}

// ObservePool keeps the metrics of a pool at what its status says.
func ObservePool(namespace, pool string, s poolv1.ConnectionPoolStatus) {
	poolPoolers.WithLabelValues(namespace, pool).Set(number(s.ReadyReplicas))
	ready, suspended := 0.0, 0.0
	if c := meta.FindStatusCondition(s.Conditions, poolv1.ConditionReady); c != nil {
		if c.Status == metav1.ConditionTrue {
			ready = 1
		} else if poolv1.Holds(c.Reason) || c.Reason == poolv1.ReasonScaledToZero {
			suspended = 1
		}
	}
	poolReady.WithLabelValues(namespace, pool).Set(ready)
	poolSuspended.WithLabelValues(namespace, pool).Set(suspended)
	tellCondition(poolConfigured, known(s.Conditions, poolv1.ConditionConfigApplied), namespace, pool)
	tellCondition(poolEdge, meta.FindStatusCondition(s.Conditions, poolv1.ConditionEdgePublished), namespace, pool)
	if ends := s.TLS.NotAfter; ends != nil {
		poolCertificate.WithLabelValues(namespace, pool).Set(float64(ends.Unix()))
	} else {
		poolCertificate.DeleteLabelValues(namespace, pool)
	}
}

// known is a condition that is True or False, else nil.
func known(conditions []metav1.Condition, kind string) *metav1.Condition {
	if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status != metav1.ConditionUnknown {
		return c
	}
	return nil
}

// tellCondition keeps a gauge at 1 for a condition that is True, at 0 for one that is
// not, and away for none.
func tellCondition(g *prometheus.GaugeVec, c *metav1.Condition, labels ...string) {
	switch {
	case c == nil:
		g.DeleteLabelValues(labels...)
	case c.Status == metav1.ConditionTrue:
		g.WithLabelValues(labels...).Set(1)
	default:
		g.WithLabelValues(labels...).Set(0)
	}
}

// Demand is what the clients of a pool want.
type Demand struct {
	// Need is nil while it is not known.
	Need *int32
	// Starved is clients that wait because the pool has no more.
	Starved int32
}

// ObserveAccount keeps the metrics of a pool at what its line in the account of a
// server, an Upstream of this name, says.
func ObserveAccount(upstream string, a poolv1.PoolAccount, demand Demand, now time.Time) {
	set := func(g *prometheus.GaugeVec, v float64) { g.WithLabelValues(a.Namespace, a.Name).Set(v) }
	poolServer.DeleteLabelValues(a.Namespace, a.Name) // It may have been another.
	poolServer.WithLabelValues(a.Namespace, a.Name, upstream).Set(1)
	entitled, share := number(a.Entitled), number(a.Share)
	set(poolEntitled, entitled)
	set(poolMinimum, float64(a.Minimum))
	set(poolShare, share)
	set(poolBorrowed, max(share-entitled, 0))
	set(poolLent, max(entitled-share, 0))
	set(poolGranted, number(a.Granted))
	set(poolHeld, number(a.Held))
	set(poolStarved, float64(demand.Starved))
	set(poolWaiting, number(a.Waiting))
	age := 0.0
	if since := a.Oldest.Since; since != nil {
		age = max(now.Sub(since.Time).Seconds(), 0)
	}
	set(poolOldest, age)
	if demand.Need == nil {
		poolNeed.DeleteLabelValues(a.Namespace, a.Name)
		return
	}
	set(poolNeed, number(demand.Need))
}

// CountRefused adds logins that the server refused for want of room.
func CountRefused(namespace, pool string, logins int64) {
	poolRefused.WithLabelValues(namespace, pool).Add(float64(logins))
}

// CountGrant adds a grant that changed from one number of connections to another.
func CountGrant(namespace, pool string, from, to int32) {
	switch {
	case to > from:
		poolRaised.WithLabelValues(namespace, pool).Inc()
	case to < from:
		poolLowered.WithLabelValues(namespace, pool).Inc()
	}
}

// CountConflict adds a pass that ended because someone else had written.
func CountConflict(upstream string) { upstreamConflicts.WithLabelValues(upstream).Inc() }

// ForgetPool deletes the series of a pool that is gone.
func ForgetPool(namespace, pool string) {
	for _, v := range poolVectors {
		v.DeleteLabelValues(namespace, pool)
	}
}

// ObserveUpstream keeps the metrics of a server at what its account says.
func ObserveUpstream(name string, s poolv1.UpstreamStatus) {
	tellCondition(upstreamReachable, known(s.Conditions, poolv1.ConditionReachable), name)
	held := 0.0
	for _, e := range s.Ledger {
		held += number(e.Held)
	}
	for g, v := range map[*prometheus.GaugeVec]float64{
		upstreamMax: number(s.Capacity.MaxConnections), upstreamSuperuser: number(s.Capacity.SuperuserReserved),
		upstreamReserved: number(s.Capacity.Reserved), upstreamDirect: number(s.Capacity.Direct),
		upstreamBudget: number(s.Capacity.Budget), upstreamGranted: number(s.Granted), upstreamHeld: held,
		upstreamUsed: number(s.Use.Connections), upstreamOthers: number(s.Use.Others), upstreamDeducted: number(s.Use.Deducted),
	} {
		g.WithLabelValues(name).Set(v)
	}
}

// ForgetUpstream deletes the series of a server that is gone.
func ForgetUpstream(name string) {
	for _, v := range upstreamVectors {
		v.DeleteLabelValues(name)
	}
}

func number(v *int32) float64 {
	if v == nil {
		return 0
	}
	return float64(*v)
}
