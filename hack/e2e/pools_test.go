// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// aSecret holds a server's URL as users write it down.
func aSecret(namespace, name, url string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		StringData: map[string]string{"DATABASE_URL": url},
	}
}

// aPool is the smallest pool; its Secret is <name>-db.
func aPool(namespace, name string, edits ...func(*poolv1.ConnectionPoolSpec)) *poolv1.ConnectionPool {
	pool := &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	pool.Spec.Upstream.SecretRef.Name = name + "-db"
	for _, edit := range edits {
		edit(&pool.Spec)
	}
	return pool
}

func withReplicas(replicas int32) func(*poolv1.ConnectionPoolSpec) {
	return func(spec *poolv1.ConnectionPoolSpec) { spec.Replicas = &replicas }
}

// lookingOften asks the server every 10 seconds, the least there is.
func lookingOften(spec *poolv1.ConnectionPoolSpec) {
	spec.Upstream.ProbeIntervalSeconds = 10
}

// awaitReady waits until clients can connect, by the pool's own word on its newest spec.
func (w *world) awaitReady(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	w.awaitCondition(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
}

// awaitCondition waits until the pool says this of its newest spec.
func (w *world) awaitCondition(t *testing.T, pool *poolv1.ConnectionPool, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	eventually(t, fmt.Sprintf("pool %s says %s=%s, %s", pool.Name, kind, status, reason), func() error {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(pool), pool); err != nil {
			return err
		}
		c := meta.FindStatusCondition(pool.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != pool.Generation {
			return fmt.Errorf("it says %s", spoken(pool.Status.Conditions))
		}
		found = *c
		return nil
	})
	return found
}

// awaitHeld waits until every pooler of a pool that is paused holds its clients.
func (w *world) awaitHeld(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	w.awaitCondition(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonPaused)
}

func spoken(conditions []metav1.Condition) string {
	text := ""
	for _, c := range conditions {
		text += fmt.Sprintf("\n    %s=%s, %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return text
}

// published returns the Secret that applications of the pool read.
func (w *world) published(t *testing.T, pool *poolv1.ConnectionPool) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Status.Binding.Name}}
	w.get(t, secret)
	w.passwords.add(string(secret.Data["password"]))
	return secret
}

func (w *world) upstreamOf(t *testing.T, pool *poolv1.ConnectionPool) *poolv1.Upstream {
	t.Helper()
	upstream := &poolv1.Upstream{}
	if err := w.client.Get(t.Context(), types.NamespacedName{Name: pool.Status.Upstream.Name}, upstream); err != nil {
		t.Fatalf("reading the upstream of pool %s: %v", pool.Name, err)
	}
	return upstream
}

// poolers are the pods of a pool.
func (w *world) poolers(t *testing.T, pool *poolv1.ConnectionPool) []corev1.Pod {
	t.Helper()
	selector, err := metav1.ParseToLabelSelector(pool.Status.Selector)
	if err != nil {
		t.Fatalf("reading status.selector: %v", err)
	}
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(pool.Namespace), client.MatchingLabels(selector.MatchLabels)); err != nil {
		t.Fatalf("listing poolers: %v", err)
	}
	return pods.Items
}
