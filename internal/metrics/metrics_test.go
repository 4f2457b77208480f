// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/metrics"
)

// family is a metric of this operator that has series now, and the value of the first.
type family struct {
	help, kind string
	gauge      float64
	series     int
}

func ours(t *testing.T) map[string]family {
	t.Helper()
	families, err := registry.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]family{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "poolfleet_") {
			out[f.GetName()] = family{f.GetHelp(), f.GetType().String(), f.GetMetric()[0].GetGauge().GetValue(), len(f.GetMetric())}
		}
	}
	return out
}

func observe() {
	now := time.Unix(1_700_000_000, 0)
	metrics.ObservePool("shop", "a", poolv1.ConnectionPoolStatus{Conditions: []metav1.Condition{
		{Type: poolv1.ConditionEdgePublished, Status: metav1.ConditionTrue},
		{Type: poolv1.ConditionReady, Status: metav1.ConditionFalse, Reason: poolv1.ReasonPaused},
		{Type: poolv1.ConditionConfigApplied, Status: metav1.ConditionTrue},
	}, TLS: poolv1.ServedCertificate{NotAfter: new(metav1.NewTime(now.Add(time.Hour)))}})
	metrics.ObserveAccount("db", poolv1.PoolAccount{
		Namespace: "shop", Name: "a", Minimum: 2, Entitled: new(int32(10)), Share: new(int32(14)), Granted: new(int32(12)), Held: new(int32(13)),
		Oldest: poolv1.OldestTransaction{Since: new(metav1.NewTime(now.Add(-time.Minute)))},
	}, metrics.Demand{Need: new(int32(20)), Starved: 6}, now)
	metrics.CountRefused("shop", "a", 3)
	metrics.CountGrant("shop", "a", 1, 2)
	metrics.CountGrant("shop", "a", 2, 1)
	metrics.ObserveUpstream("db", poolv1.UpstreamStatus{
		Use:        poolv1.ServerUse{Deducted: new(int32(7))},
		Conditions: []metav1.Condition{{Type: poolv1.ConditionReachable, Status: metav1.ConditionFalse}},
	})
	metrics.CountConflict("db")
}

func TestEveryMetricHasHelpAndUnitAndGoesWithWhatItTellsOf(t *testing.T) {
	observe()
	t.Cleanup(func() {
		metrics.ForgetPool("shop", "a")
		metrics.ForgetUpstream("db")
	})
	const families = 33
	all := ours(t)
	if len(all) != families {
		t.Errorf("%d families have series, want %d: observe() should reach every metric", len(all), families)
	}
	units := []string{"_connections", "_clients", "_poolers", "_seconds", "_total", "_ready", "_published", "_suspended", "_applied", "_info", "_reachable"}
	for name, f := range all {
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: help %q is no sentence", name, f.help)
		}
		hasUnit := false
		for _, unit := range units {
			hasUnit = hasUnit || strings.HasSuffix(name, unit)
		}
		if !hasUnit {
			t.Errorf("%s has no unit", name)
		}
		if isCounter := f.kind == "COUNTER"; isCounter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.kind)
		}
	}
	metrics.ForgetPool("shop", "a")
	metrics.ForgetUpstream("db")
	for name := range ours(t) {
		t.Errorf("%s has series of what is gone", name)
	}
}

func TestMetricsSayWhatTheAccountSays(t *testing.T) {
	observe()
	t.Cleanup(func() {
		metrics.ForgetPool("shop", "a")
		metrics.ForgetUpstream("db")
	})
	all := ours(t)
	for name, want := range map[string]float64{
		"poolfleet_pool_edge_published":                 1,
		"poolfleet_pool_borrowed_connections":           4,
		"poolfleet_pool_lent_connections":               0,
		"poolfleet_pool_needed_connections":             20,
		"poolfleet_pool_starved_clients":                6,
		"poolfleet_pool_oldest_transaction_age_seconds": 60,
		"poolfleet_upstream_deducted_connections":       7,
		"poolfleet_pool_ready":                          0,
		"poolfleet_pool_suspended":                      1,
		"poolfleet_pool_configuration_applied":          1,
		"poolfleet_pool_upstream_info":                  1,
		"poolfleet_upstream_reachable":                  0,

		"poolfleet_pool_certificate_expiry_timestamp_seconds": 1_700_003_600,
	} {
		if got := all[name].gauge; got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	metrics.ObserveAccount("db2", poolv1.PoolAccount{Namespace: "shop", Name: "a"}, metrics.Demand{}, time.Now())
	if series := ours(t)["poolfleet_pool_upstream_info"].series; series != 1 {
		t.Errorf("a pool that moved is on %d servers", series)
	}
	if _, told := ours(t)["poolfleet_pool_needed_connections"]; told {
		t.Error("a need that is not known is told as a number")
	}
	metrics.ObservePool("shop", "a", poolv1.ConnectionPoolStatus{})
	for name, what := range map[string]string{
		"poolfleet_pool_edge_published":        "a pool that does not ask for the gateway is told of as one that is not served",
		"poolfleet_pool_configuration_applied": "a configuration is told of that nobody has said anything about",

		"poolfleet_pool_certificate_expiry_timestamp_seconds": "a pool without a certificate has one that ends",
	} {
		if _, told := ours(t)[name]; told {
			t.Error(what)
		}
	}
}
