// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

var configMapKind = corev1.SchemeGroupVersion.WithKind("ConfigMap")

func TestAnObjectOfAKindThatIsNotWatchedIsKeptAndWithdrawn(t *testing.T) {
	w := newWorld(t)
	object := corev1ac.ConfigMap("extra", w.pool.Namespace).WithData(map[string]string{"a": "b"}).WithOwnerReferences(
		metav1ac.OwnerReference().WithAPIVersion(poolv1.SchemeGroupVersion.String()).WithKind("ConnectionPool").
			WithName(w.pool.Name).WithUID(w.pool.UID).WithController(true))
	for range 3 {
		if err := w.applier.Apply(t.Context(), w.pool, object); err != nil {
			t.Fatal(err)
		}
	}
	if w.client.applies != 1 {
		t.Errorf("it was written %d times", w.client.applies)
	}
	live := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool.Namespace, Name: "extra"}}
	if err := apiServer.GetAPIReader().Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	live.Data["a"] = "changed"
	if err := apiServer.GetClient().Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	if err := w.applier.Apply(t.Context(), w.pool, object); err != nil || w.client.applies != 2 {
		t.Errorf("what another changed was written %d times (%v)", w.client.applies-1, err)
	}
	for range 2 { // Once while it is there and once when it is not.
		if err := w.applier.Withdraw(t.Context(), w.pool, configMapKind, "extra"); err != nil {
			t.Fatal(err)
		}
	}
	if err := apiServer.GetAPIReader().Get(t.Context(), client.ObjectKeyFromObject(live), live); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v)", err)
	}
}

func TestWithdrawingLeavesWhatIsNotOursAndKnowsNoKindInVain(t *testing.T) {
	w := newWorld(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool.Namespace, Name: "theirs"}}
	if err := apiServer.GetClient().Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if err := w.applier.Withdraw(t.Context(), w.pool, configMapKind, "theirs"); err != nil || w.client.deletes != 0 {
		t.Errorf("another's object was deleted %d times (%v)", w.client.deletes, err)
	}
	unknown := schema.GroupVersionKind{Group: "nobody.example.com", Version: "v1", Kind: "Nothing"}
	if err := w.applier.Withdraw(t.Context(), w.pool, unknown, "any"); err != nil {
		t.Errorf("a kind that the cluster does not know: %v", err)
	}
}
