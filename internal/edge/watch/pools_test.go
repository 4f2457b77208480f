// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/watch"
)

// aPool asks for the gateway, is ready, and was made so many minutes after noon.
func aPool(namespace, name string, minutes int, changes ...func(*poolv1.ConnectionPool)) poolv1.ConnectionPool {
	pool := poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 2, 12, minutes, 0, 0, time.UTC)),
	}}
	pool.Spec.Edge.Mode = poolv1.EdgeEnabled
	ready(metav1.ConditionTrue, poolv1.ReasonAvailable)(&pool)
	for _, change := range changes {
		change(&pool)
	}
	return pool
}

func ready(status metav1.ConditionStatus, reason string) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) {
		p.Status.Conditions = []metav1.Condition{{Type: poolv1.ConditionReady, Status: status, Reason: reason, Message: "db.internal:5432 is away"}}
	}
}

func named(name string) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) { p.Spec.Edge.Name = name }
}

func TestAPoolIsServedAsItsSpecAndStatusSay(t *testing.T) {
	plain := edge.Pool{
		Namespace: "web", Name: "shop", Label: "shop-web", Address: "shop-pool.web.svc:5432", TLS: true, MaxConcurrency: 1000,
	}
	for name, c := range map[string]struct {
		change func(*poolv1.ConnectionPool)
		want   func(*edge.Pool)
	}{
		"as it is by default": {func(*poolv1.ConnectionPool) {}, func(*edge.Pool) {}},
		"under a name":        {named("store"), func(p *edge.Pool) { p.Label = "store" }},
		"without TLS":         {func(p *poolv1.ConnectionPool) { p.Spec.TLS.Mode = poolv1.ClientTLSDisable }, func(p *edge.Pool) { p.TLS = false }},
		"with an authority": {func(p *poolv1.ConnectionPool) {
			p.Status.TLS = poolv1.ServedCertificate{Authority: "pem", DNSNames: []string{"shop-pool", "shop-pool.web.svc"}}
		}, func(p *edge.Pool) { p.Authority = "pem" }},
		"with a certificate for the outside alone": {func(p *poolv1.ConnectionPool) {
			p.Spec.Service.ExternalHostname, p.Status.TLS.DNSNames = "db.example.com", []string{"db.example.com"}
		}, func(p *edge.Pool) { p.ServerName = "db.example.com" }},
		"in session mode":    {func(p *poolv1.ConnectionPool) { p.Spec.Mode = poolv1.PoolModeSession }, func(p *edge.Pool) { p.Session = true }},
		"with less at once":  {func(p *poolv1.ConnectionPool) { p.Spec.Edge.MaxConcurrency = 5 }, func(p *edge.Pool) { p.MaxConcurrency = 5 }},
		"paused, to wait":    {ready(metav1.ConditionFalse, poolv1.ReasonPaused), func(*edge.Pool) {}},
		"while it is set up": {func(p *poolv1.ConnectionPool) { p.Status.Conditions = nil }, func(p *edge.Pool) { p.Unready = "it is being set up" }},
		"without its server": {ready(metav1.ConditionFalse, poolv1.ReasonUnreachable), func(p *edge.Pool) {
			p.Unready = "its server can not be reached (Unreachable)"
		}},
		"behind client certificates": {func(p *poolv1.ConnectionPool) { p.Spec.TLS.Mode = poolv1.ClientTLSVerifyFull }, func(p *edge.Pool) {
			p.Unready = "its poolers ask for a client certificate, and the gateway has none to show"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := plain
			c.want(&want)
			got := watch.Pools([]poolv1.ConnectionPool{aPool("web", "shop", 0, c.change)})
			if diff := cmp.Diff(map[string]edge.Pool{want.Label: want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoWordOfAConditionReachesStrangers(t *testing.T) {
	for _, reason := range []string{poolv1.ReasonUnreachable, poolv1.ReasonAuthenticationFailed, "SomethingNew", ""} {
		for label, pool := range watch.Pools([]poolv1.ConnectionPool{aPool("web", "shop", 0, ready(metav1.ConditionFalse, reason))}) {
			if pool.Unready == "" || strings.Contains(pool.Unready, "db.internal") {
				t.Errorf("with reason %q pool %s says %q", reason, label, pool.Unready)
			}
		}
	}
}

func TestOnlyPoolsThatAskAreServedAndOfOneNameTheOldest(t *testing.T) {
	off := func(p *poolv1.ConnectionPool) { p.Spec.Edge.Mode = poolv1.EdgeDisabled }
	unset := func(p *poolv1.ConnectionPool) { p.Spec.Edge.Mode = "" }
	got := watch.Pools([]poolv1.ConnectionPool{
		aPool("a", "younger", 5, named("store")), aPool("z", "older", 1, named("store")), aPool("a", "oldest", 0, named("store"), off),
		aPool("a", "unset", 0, unset), aPool("a", "reserved", 0, named("api")), aPool(strings.Repeat("n", 63), "long", 0),
	})
	if len(got) != 1 || got["store"].Name != "older" {
		t.Errorf("served are %v", got)
	}
}
