// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func meant(target poolv1.TargetSessionAttributes) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) { p.Spec.Upstream.TargetSessionAttributes = target }
}

func TestAPoolOfAStandbyHasABudgetOfItsOwnAndServesOnAfterAPromotion(t *testing.T) {
	for _, target := range []poolv1.TargetSessionAttributes{poolv1.TargetReadOnly, poolv1.TargetAny} {
		host, other := server(t, 100), server(t, 100)
		standby := restarted(observed(host, 100))
		standby.InRecovery = true
		leadsTo(other, standby)
		primary := known(t, serve(t, namespace(t), "primary", host))
		pool, pods := serving(t, other, meant(target))
		own := known(t, pool)
		if own.Name == primary.Name || own.Status.Server.SystemIdentifier != primary.Status.Server.SystemIdentifier {
			t.Fatalf("the primary is on %s, its standby on %s", primary.Name, own.Name)
		}
		before := configOf(t, pool).PgBouncer

		standby.InRecovery = false
		leadsTo(other, standby)
		lookLater(t, pool)
		if target == poolv1.TargetReadOnly {
			says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonNotInRecovery)
			warned(t, pool, poolv1.ReasonNotInRecovery)
		}
		says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
		change(t, pool, func() { pool.Spec.Replicas = new(int32(3)) })
		grantOf(t, podOf(t, pool, "shop-c"), 30) // The budget goes on.
		grantOf(t, pods[0], 31)
		if now := known(t, pool); now.Name != own.Name {
			t.Errorf("the promotion moved the pool from %s to %s", own.Name, now.Name)
		}
		if after := configOf(t, pool).PgBouncer; after.Server != before.Server {
			t.Errorf("the promotion changed the document: %v, before %v", after.Server, before.Server)
		}
	}
}

func TestAPrimaryIsNoServerForANewPoolOfStandbys(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100), meant(poolv1.TargetReadOnly))
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonNotInRecovery)
}

func TestAPrimaryThatBecomesAStandbyIsReportedAndItsPoolersKeepTrying(t *testing.T) {
	host := server(t, 100)
	pool, pods := serving(t, host)
	before := serverIn(t, pool)
	demoted := restarted(observed(host, 100))
	demoted.InRecovery = true
	leadsTo(host, demoted)
	lookLater(t, pool)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonInRecovery)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonInRecovery)
	if got := serverIn(t, pool); got != before {
		t.Errorf("the document changed: %v, before %v", got, before)
	}
	grantOf(t, pods[0], 46)
}

func TestPoolersAreToldWhenTheNameLeadsToAnotherServerAndNotOfARestart(t *testing.T) {
	host := server(t, 100)
	first := observed(host, 100)
	first.ServerAddress, first.ServerPort = "10.0.0.1", 5432
	leadsTo(host, first)
	pool, _ := serving(t, host)
	one := serverIn(t, pool).Incarnation
	if one == "" {
		t.Fatal("the document does not say which server it is")
	}
	first = restarted(first)
	leadsTo(host, first)
	looks := servers.looksAt(host)
	lookLater(t, pool)
	eventually(t, func(g gomega.Gomega) { g.Expect(servers.looksAt(host)).To(gomega.BeNumerically(">", looks)) })
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
	if got := serverIn(t, pool).Incarnation; got != one {
		t.Errorf("a restart made another server of it: %s, before %s", got, one)
	}
	first.ServerAddress = "10.0.0.9" // By another of its addresses.
	leadsTo(host, first)
	looks = servers.looksAt(host)
	lookLater(t, pool)
	eventually(t, func(g gomega.Gomega) { g.Expect(servers.looksAt(host)).To(gomega.BeNumerically(">", looks)) })
	if got := serverIn(t, pool).Incarnation; got != one {
		t.Errorf("another address of one server made another of it: %s, before %s", got, one)
	}

	second := restarted(restarted(first))
	second.ServerAddress = "10.0.0.2"
	leadsTo(host, second)
	lookLater(t, pool)
	eventually(t, func(g gomega.Gomega) { g.Expect(serverIn(t, pool).Incarnation).NotTo(gomega.Equal(one)) })
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
}

func TestPoolersLeaveAServerOfTheWrongKindThatTheNameLedToForAWhile(t *testing.T) {
	for _, target := range []poolv1.TargetSessionAttributes{poolv1.TargetReadWrite, poolv1.TargetReadOnly} {
		host := server(t, 100)
		right := observed(host, 100)
		right.ServerAddress, right.ServerPort, right.InRecovery = "10.0.0.1", 5432, target == poolv1.TargetReadOnly
		wrong := restarted(right)
		wrong.ServerAddress, wrong.InRecovery = "10.0.0.2", !right.InRecovery
		leadsTo(host, right)
		pool, _ := serving(t, host, meant(target))
		name := serverIn(t, pool).Incarnation

		leadsTo(host, wrong)
		lookLater(t, pool)
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, wrongReason(target))
		if got := serverIn(t, pool).Incarnation; got != name {
			t.Errorf("%s: poolers were sent to a server of the wrong kind: %s, before %s", target, got, name)
		}
		leadsTo(host, right)
		lookLater(t, pool)
		eventually(t, func(g gomega.Gomega) { g.Expect(serverIn(t, pool).Incarnation).NotTo(gomega.Equal(name)) })
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)

		name = serverIn(t, pool).Incarnation
		changed := right
		changed.InRecovery = !right.InRecovery // It is another kind for a while, and the same server.
		leadsTo(host, changed)
		lookLater(t, pool)
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, wrongReason(target))
		leadsTo(host, right)
		lookLater(t, pool)
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
		if got := serverIn(t, pool).Incarnation; got != name {
			t.Errorf("%s: poolers were told to leave a server that came right: %s, before %s", target, got, name)
		}
	}
}

// wrongReason is what a pool says of a server of the other kind.
func wrongReason(target poolv1.TargetSessionAttributes) string {
	if target == poolv1.TargetReadOnly {
		return poolv1.ReasonNotInRecovery
	}
	return poolv1.ReasonInRecovery
}
