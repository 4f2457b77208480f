// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// deploymentOf waits until the poolers' Deployment asks for so many, and plays that it
// has so many that are ready.
func deploymentOf(t *testing.T, pool *poolv1.ConnectionPool, wanted, ready int32) {
	t.Helper()
	var d appsv1.Deployment
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &d)).To(gomega.Succeed())
		g.Expect(*d.Spec.Replicas).To(gomega.Equal(wanted))
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: d.Generation, Replicas: ready, UpdatedReplicas: ready, ReadyReplicas: ready, AvailableReplicas: ready,
		}
		g.Expect(api.Status().Update(t.Context(), &d)).To(gomega.Succeed())
	})
}

// alarms are the conditions and events of a pool that call for a person.
func alarms(t *testing.T, pool *poolv1.ConnectionPool) (found []string) {
	t.Helper()
	for _, c := range pool.Status.Conditions {
		if c.Type == poolv1.ConditionStalled {
			found = append(found, "Stalled: "+c.Message)
		}
	}
	var events eventsv1.EventList
	if err := api.List(t.Context(), &events, client.InNamespace(pool.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning && e.Regarding.Name == pool.Name {
			found = append(found, e.Reason+": "+e.Note)
		}
	}
	return found
}

func TestAPauseHoldsClientsAndAlarmsNobody(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "held", host)
	a, b := podOf(t, pool, "held-a"), podOf(t, pool, "held-b")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	deploymentOf(t, pool, 2, 2)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)

	change(t, pool, func() { pool.Spec.State = poolv1.PoolPaused })
	eventually(t, func(g gomega.Gomega) { g.Expect(configOf(t, pool).PgBouncer.Paused).To(gomega.BeTrue()) })
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	held := func(s *contract.Status) { s.Paused = true }
	pods.setSaid(a, held)
	readySays(t, pool, "spec.state is Paused: 1 of 2 poolers hold their clients until it is Running")
	says(t, pool, poolv1.ConditionReconciling, metav1.ConditionTrue, poolv1.ReasonPausing)
	pods.setSaid(b, held)
	readySays(t, pool, "spec.state is Paused: 2 of 2 poolers hold their clients until it is Running")

	// Maintenance: the server is away, and pods keep what they have.
	servers.set(host+":5432", answer{err: &postgres.Error{Reason: postgres.Unreachable, Message: "nothing answers"}})
	lookLater(t, pool)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonUnreachable)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonPaused)
	if found := alarms(t, pool); len(found) > 0 {
		t.Errorf("a pause alarms: %s", strings.Join(found, "; "))
	}
	grantOf(t, a, 46)

	servers.set(host+":5432", answer{observation: observed(host, 100)})
	change(t, pool, func() { pool.Spec.State = poolv1.PoolRunning })
	pods.setSaid(a, nil)
	pods.setSaid(b, nil)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	deploymentOf(t, pool, 2, 2)
}

func readySays(t *testing.T, pool *poolv1.ConnectionPool, message string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		for _, c := range pool.Status.Conditions {
			if c.Type == poolv1.ConditionReady {
				g.Expect(c.Message).To(gomega.Equal(message))
			}
		}
	})
}

// lookLater lets the time for the next look at the server come.
func lookLater(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	hands.ahead.Add(int64(2 * time.Minute))
	signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
}

// scale does as kubectl scale and an autoscaler do.
func scale(t *testing.T, pool *poolv1.ConnectionPool, replicas int32) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		var s autoscalingv1.Scale
		g.Expect(api.SubResource("scale").Get(t.Context(), pool, &s)).To(gomega.Succeed())
		s.Spec.Replicas = replicas
		g.Expect(api.SubResource("scale").Update(t.Context(), pool, client.WithSubResourceBody(&s))).To(gomega.Succeed())
	})
}

func TestAPoolScalesToZeroAndBack(t *testing.T) {
	host := server(t, 100)
	pool, neighbour := serve(t, namespace(t), "idle", host), serve(t, namespace(t), "busy", host)
	a, other := podOf(t, pool, "idle-a"), podOf(t, neighbour, "busy-a")
	grantOf(t, a, 46)
	grantOf(t, other, 46)
	deploymentOf(t, pool, 2, 1)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)

	t.Run("an autoscaler finds the pods and their number", func(t *testing.T) {
		var s autoscalingv1.Scale
		if err := api.SubResource("scale").Get(t.Context(), pool, &s); err != nil {
			t.Fatal(err)
		}
		selector, err := labels.Parse(s.Status.Selector)
		if err != nil {
			t.Fatal(err)
		}
		if !selector.Matches(labels.Set(a.Labels)) || selector.Matches(labels.Set(other.Labels)) || s.Spec.Replicas != 2 || s.Status.Replicas != 1 {
			t.Errorf("scale is %+v", s)
		}
	})

	scale(t, pool, 0)
	deploymentOf(t, pool, 0, 0)
	if err := api.Delete(t.Context(), a, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonScaledToZero)
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	grantOf(t, other, 92) // What it had is its neighbour's now.

	scale(t, pool, 2)
	deploymentOf(t, pool, 2, 0)
	b := podOf(t, pool, "idle-b")
	grantOf(t, b, 46)
	grantOf(t, other, 46)
	deploymentOf(t, pool, 2, 2)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	if found := alarms(t, pool); len(found) > 0 {
		t.Errorf("scaling to zero and back alarms: %s", strings.Join(found, "; "))
	}
}

func TestPodAndPoolerAreToldTheSameOfADrain(t *testing.T) {
	pool := serve(t, namespace(t), "drains", server(t, 100))
	told := func(drain int32, grace int64) {
		t.Helper()
		eventually(t, func(g gomega.Gomega) {
			var d appsv1.Deployment
			g.Expect(api.Get(t.Context(), key(pool, "-pool"), &d)).To(gomega.Succeed())
			g.Expect(d.Spec.Template.Spec.TerminationGracePeriodSeconds).To(gomega.HaveValue(gomega.Equal(grace)))
			g.Expect(configOf(t, pool).DrainTimeoutSeconds).To(gomega.HaveValue(gomega.Equal(drain)))
		})
	}
	told(60, 70)
	change(t, pool, func() { pool.Spec.Rollout.DrainTimeoutSeconds = new(int32(0)) })
	told(0, 15)
	change(t, pool, func() { pool.Spec.Rollout.DrainTimeoutSeconds = new(int32(86400)) })
	told(86400, 86410)
	tooLong := aPool(pool.Namespace, "too-long", func(p *poolv1.ConnectionPool) { p.Spec.Rollout.DrainTimeoutSeconds = new(int32(86401)) })
	if err := api.Create(t.Context(), tooLong); !apierrors.IsInvalid(err) {
		t.Errorf("a drain of more than a day: %v", err)
	}
}
