// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// rollsOut gives the pods another shape and waits until the old ones are gone.
func (f *fleet) rollsOut(t *testing.T) {
	t.Helper()
	old := f.running(t)
	f.change(t, f.pool, func() {
		f.pool.Spec.Pod.Annotations = map[string]string{"example.com/shape": fmt.Sprint(time.Now().UnixNano())}
	})
	f.awaitGone(t, old)
	f.awaitReady(t, f.pool)
}

// awaitGone waits until none of some pods is left, terminating ones included.
func (f *fleet) awaitGone(t *testing.T, old map[types.UID]int32) {
	t.Helper()
	eventually(t, "the old poolers have gone", func() error {
		left := 0
		for uid := range f.running(t) {
			if _, known := old[uid]; known {
				left++
			}
		}
		if left > 0 {
			return fmt.Errorf("%d of %d are left", left, len(old))
		}
		return nil
	})
}

// evicts does to each pooler what the drain of its node does.
func (f *fleet) evicts(t *testing.T) {
	t.Helper()
	old := f.running(t)
	for _, pod := range f.poolers(t, f.pool) {
		eventually(t, "the disruption budget lets pod "+pod.Name+" be evicted", func() error {
			err := f.clientset.PolicyV1().Evictions(pod.Namespace).Evict(t.Context(), &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
	}
	f.awaitGone(t, old)
	f.awaitReady(t, f.pool)
}

// reloads changes sizes and settings, which no pod restarts for.
func (f *fleet) reloads(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() {
		for _, edit := range []func(*poolv1.ConnectionPoolSpec){
			func(s *poolv1.ConnectionPoolSpec) { s.ServerConnections.Maximum = 20 },
			func(s *poolv1.ConnectionPoolSpec) { s.Clients.MaxConnections = 4000 },
			func(s *poolv1.ConnectionPoolSpec) {
				s.Parameters = []poolv1.Parameter{{Name: "server_idle_timeout", Value: "120"}}
			},
			func(s *poolv1.ConnectionPoolSpec) { s.ServerConnections.Maximum, s.Parameters = 0, nil },
		} {
			f.change(t, f.pool, func() { edit(&f.pool.Spec) })
			from := time.Now()
			f.awaitApplied(t)
			t.Logf("in every pooler after %.1f s", time.Since(from).Seconds())
		}
	})
}

// awaitApplied waits until every pooler runs what the newest spec asks for.
func (f *fleet) awaitApplied(t *testing.T) {
	t.Helper()
	f.awaitCondition(t, f.pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
}

// scales goes through the scale subresource, as kubectl scale and autoscalers do.
func (f *fleet) scales(t *testing.T) {
	t.Helper()
	for _, replicas := range []int32{1, 3} {
		f.scaleTo(t, replicas)
		f.awaitReady(t, f.pool)
	}
}

func (f *fleet) scaleTo(t *testing.T, replicas int32) {
	t.Helper()
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if err := f.client.SubResource("scale").Update(t.Context(), f.pool, client.WithSubResourceBody(scale)); err != nil {
		t.Fatalf("scaling to %d: %v", replicas, err)
	}
	eventually(t, fmt.Sprintf("there are %d poolers", replicas), func() error {
		if has := len(f.running(t)); has != int(replicas) {
			return fmt.Errorf("there are %d", has)
		}
		return nil
	})
}

// rests scales to zero, where the server is left alone, and back.
func (f *fleet) rests(t *testing.T) {
	t.Helper()
	f.scaleTo(t, 0)
	f.awaitCondition(t, f.pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonScaledToZero)
	eventually(t, "the server has no connection of the pool", func() error { return f.idleServer(t) })
	eventually(t, "the ledger has no entry", func() error {
		if left := len(f.upstreamOf(t, f.pool).Status.Ledger); left > 0 {
			return fmt.Errorf("it has %d", left)
		}
		return nil
	})
	f.scaleTo(t, 3)
	f.awaitReady(t, f.pool)
	if _, err := f.query(t.Context(), string(f.published(t, f.pool).Data["DATABASE_URL"]), "select 1"); err != nil {
		t.Error(err)
	}
}

// replacesOperator does what an upgrade of the operator does: a new manager comes and
// the old one goes. No pooler restarts for it.
func (f *fleet) replacesOperator(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() {
		deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.Manager}}
		f.change(t, deployment, func() {
			metav1.SetMetaDataAnnotation(&deployment.Spec.Template.ObjectMeta, "example.com/restarted", time.Now().String())
		})
		eventually(t, "the new manager is there alone", func() error {
			f.get(t, deployment)
			s := deployment.Status
			if s.ObservedGeneration < deployment.Generation || s.UpdatedReplicas != s.Replicas || s.ReadyReplicas != s.Replicas {
				return errors.New("it is not")
			}
			return nil
		})
		// It does its work: a change arrives.
		f.change(t, f.pool, func() { f.pool.Spec.ServerConnections.Weight++ })
		eventually(t, "the new manager has seen the pool", func() error {
			f.get(t, f.pool)
			ready := meta.FindStatusCondition(f.pool.Status.Conditions, poolv1.ConditionReady)
			if ready == nil || ready.ObservedGeneration != f.pool.Generation {
				return errors.New("it has not")
			}
			return nil
		})
		f.awaitReady(t, f.pool)
	})
}

// readyPods are the poolers that serve.
func (f *fleet) readyPods(t *testing.T) []corev1.Pod {
	t.Helper()
	return slices.DeleteFunc(f.poolers(t, f.pool), func(p corev1.Pod) bool { return !isReady(p) })
}
