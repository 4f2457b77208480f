// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// shows has a server show so many connections of a role beside those of its pools.
func shows(host string, others int32, pools int32) {
	o := observed(host, 100)
	o.Backends = []postgres.BackendCount{
		{Database: "shop", Role: "shop", Application: "app", Count: pools},
		{Database: "shop", Role: "etl", Application: "batch", Count: others},
		{Database: "shop", Role: "shop", Application: postgres.ApplicationName, Count: 1},
	}
	o.InUse = pools + others + 1
	servers.set(host+":5432", answer{observation: o})
}

// looks has the pool's server looked at once more.
func looks(t *testing.T, pool *poolv1.ConnectionPool, host string) {
	t.Helper()
	before := servers.looksAt(host)
	hands.ahead.Add(int64(2 * time.Minute))
	eventually(t, func(g gomega.Gomega) {
		signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		g.Expect(servers.looksAt(host)).To(gomega.BeNumerically(">", before))
	})
}

func useIs(t *testing.T, pool *poolv1.ConnectionPool, others, deducted int32) {
	t.Helper()
	upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Use.Others).To(gomega.HaveValue(gomega.Equal(others)))
		g.Expect(u.Status.Use.Deducted).To(gomega.HaveValue(gomega.Equal(deducted)))
	})
}

func TestPoolsDivideWhatIntrudersLeave(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "intruded", host)
	pod := podOf(t, pool, "intruded-a")
	grantOf(t, pod, 92)
	has := int32(60)
	pods.setSaid(pod, func(s *contract.Status) { s.Current = has })
	shows(host, 4, has)
	looks(t, pool, host)
	useIs(t, pool, 4, 0)
	saysOfServer(t, pool, poolv1.ConditionHeadroomAvailable, metav1.ConditionTrue, poolv1.ReasonHeadroom)

	shows(host, 25, has)
	looks(t, pool, host)
	useIs(t, pool, 25, 0) // One look proves nothing.
	grantOf(t, pod, 92)
	looks(t, pool, host)
	looks(t, pool, host)
	useIs(t, pool, 25, 25)
	grantOf(t, pod, 67)
	u := saysOfServer(t, pool, poolv1.ConditionHeadroomAvailable, metav1.ConditionFalse, poolv1.ReasonIntruded)
	c := meta.FindStatusCondition(u.Status.Conditions, poolv1.ConditionHeadroomAvailable)
	if !strings.Contains(c.Message, `most by role "etl" with application "batch"`) || strings.Contains(c.Message, postgres.ApplicationName) {
		t.Errorf("message: %s", c.Message)
	}
	told(t, u, poolv1.ReasonIntruded)
	tells(t, pool, "-25 that others use now")

	shows(host, 2, has)
	looks(t, pool, host)
	useIs(t, pool, 2, 2) // One look is enough to give back.
	grantOf(t, pod, 90)
	told(t, u, poolv1.ReasonHeadroom)
}

func TestALookThatPodsOutranIsNoIntruder(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "outran", host)
	pod := podOf(t, pool, "outran-a")
	grantOf(t, pod, 92)
	for _, has := range []int32{0, 90, 0, 90} { // Between look and answer they closed, or opened, ninety.
		pods.setSaid(pod, func(s *contract.Status) { s.Current = has })
		shows(host, 3, 90-has)
		looks(t, pool, host)
		quietFor(t)
		grantOf(t, pod, 92)
	}
	useIs(t, pool, 0, 0)
}

func TestAServerThatHidesItsConnectionsIsSaid(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "hidden", host)
	saysOfServer(t, pool, poolv1.ConditionHeadroomAvailable, metav1.ConditionUnknown, poolv1.ReasonNotVisible)
	shows(host, 3, 0)
	looks(t, pool, host)
	saysOfServer(t, pool, poolv1.ConditionHeadroomAvailable, metav1.ConditionTrue, poolv1.ReasonHeadroom)
	servers.set(host+":5432", answer{err: &postgres.Error{Reason: postgres.Full, Message: "no connection is left"}})
	looks(t, pool, host)
	saysOfServer(t, pool, poolv1.ConditionHeadroomAvailable, metav1.ConditionFalse, poolv1.ReasonIntruded)
}

func TestAServerThatFallsSilentIsToldOfAndSoIsItsReturn(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "silent", host)
	looks(t, pool, host)
	saysOfServer(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	servers.set(host+":5432", answer{err: &postgres.Error{Reason: postgres.Unreachable, Message: "nobody answers"}})
	looks(t, pool, host)
	u := saysOfServer(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonNotAnswering)
	saysOfServer(t, pool, poolv1.ConditionStalled, metav1.ConditionTrue, poolv1.ReasonNotAnswering)
	told(t, u, poolv1.ReasonNotAnswering)

	shows(host, 3, 0)
	looks(t, pool, host)
	u = saysOfServer(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	if stalled := meta.FindStatusCondition(u.Status.Conditions, poolv1.ConditionStalled); stalled != nil {
		t.Errorf("it is still stalled: %v", stalled)
	}
	told(t, u, poolv1.ReasonAvailable)
}

func TestWhatAPoolLeavesIdleServesAnotherWhoseClientsWait(t *testing.T) {
	host := server(t, 100)
	busy, idle := serve(t, namespace(t), "busy", host), serve(t, namespace(t), "idle", host)
	a, b := podOf(t, busy, "busy-a"), podOf(t, idle, "idle-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	u := upstreamFor(t, busy, func(gomega.Gomega, *poolv1.Upstream) {})
	pods.setSaid(b, func(s *contract.Status) { s.Peak = 4 })
	knowNeeds(t, u)
	pods.setSaid(a, func(s *contract.Status) { s.Peak, s.Starved = s.Cap, 20 })
	lent := tells(t, busy, busy.Namespace+"/busy: 46 by weight 100 of 200; borrows ", " that "+idle.Namespace+"/idle leaves idle")
	for _, line := range lent.Status.Pools {
		if *line.Entitled != 46 {
			t.Errorf("%s is entitled to %d: a loan would scale it", line.Name, *line.Entitled)
		}
	}
	pods.setSaid(a, nil)
	pods.setSaid(b, func(s *contract.Status) { s.Peak, s.Starved = s.Cap, 60 })
	grantOf(t, b, 46) // Its owner has it back at once.
}

func TestWhatHoldsUpAHandOverIsNamed(t *testing.T) {
	host := server(t, 100)
	first := serve(t, namespace(t), "holds", host)
	a := podOf(t, first, "holds-a")
	grantOf(t, a, 92)
	since := hands.Now().Add(-time.Hour).Truncate(time.Second)
	pods.setSaid(a, func(s *contract.Status) {
		s.Current, s.LettingGo = 92, &contract.LettingGo{Connections: 46, PID: 4711, Since: since.Unix()}
	})
	second := serve(t, namespace(t), "waits", host)
	b := podOf(t, second, "waits-a")
	tells(t, second, second.Namespace+"/waits: 46", "waits for 46 from "+first.Namespace+"/holds")
	u := tells(t, first, "pod holds-a lets go when backend 4711 ends its transaction, in it since "+since.UTC().Format(time.RFC3339))
	quietFor(t)
	hands.ahead.Add(int64(2 * time.Minute))
	signals.Upstream(t.Context(), u.Name)
	if note := told(t, u, poolv1.EventHoldsTooLong); !strings.Contains(note, "have held 46 connections more than they were granted") || !strings.Contains(note, "backend 4711") {
		t.Errorf("event: %s", note)
	}
	pods.setSaid(a, nil)
	grantOf(t, b, 46)
}

func TestARefusalIsToldOnce(t *testing.T) {
	pool := serve(t, namespace(t), "refused", server(t, 10), func(p *poolv1.ConnectionPool) { p.Spec.Replicas = new(int32(9)) })
	pod := podOf(t, pool, "refused-a")
	grantOf(t, pod, 4)
	u := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	hands.ahead.Add(int64(time.Minute))
	signals.Upstream(t.Context(), u.Name)
	if note := told(t, pool, poolv1.EventGrantRefused); !strings.HasPrefix(note, "The pool gets 4 connections, enough for 4 of 9 poolers at 1 each") {
		t.Errorf("event: %s", note)
	}
	refused := int64(3)
	pods.setSaid(pod, func(s *contract.Status) { s.Refused = refused })
	hands.ahead.Add(int64(time.Minute))
	signals.Upstream(t.Context(), u.Name)
	told(t, pool, poolv1.EventLoginsRefused)
}
