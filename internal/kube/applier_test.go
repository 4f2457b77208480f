// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

func TestAChangeReachesOnlyTheObjectThatItConcerns(t *testing.T) {
	w := newWorld(t)
	in := w.inputs()
	in.Secret.Annotations = map[string]string{"team": "checkout"}
	w.mustApply(in)

	in.Config, in.ConfigRevision = []byte(`{"version":2}`), "r2"
	if got := w.writes(in); got != 1 {
		t.Errorf("a new configuration took %d writes, want 1", got)
	}
	config := get(w, "shop-pooler", &corev1.Secret{})
	if got := string(config.Data["config.json"]); got != `{"version":2}` {
		t.Errorf("the configuration is %s", got)
	}

	in.Secret.Annotations = nil
	if got := w.writes(in); got != 1 {
		t.Errorf("leaving out an annotation took %d writes, want 1", got)
	}
	if got := get(w, "shop-pool", &corev1.Secret{}).Annotations; len(got) != 0 {
		t.Errorf("the annotation is still there: %v", got)
	}
}

func TestWhatOthersChangeIsPutRight(t *testing.T) {
	w := newWorld(t)
	in := w.inputs()
	w.mustApply(in)
	w.caughtUp()

	deployment := get(w, "shop-pool", &appsv1.Deployment{})
	deployment.Spec.Replicas = new(int32(7))
	w.must(someone().Update(t.Context(), deployment))

	account := get(w, "shop-pool", &corev1.ServiceAccount{})
	delete(account.Labels, manifests.PoolLabel)
	w.must(someone().Update(t.Context(), account))

	secret := get(w, "shop-pool", &corev1.Secret{})
	secret.Data["password"] = []byte("another")
	w.must(someone().Update(t.Context(), secret))

	w.must(someone().Delete(t.Context(), get(w, "shop-pool", &corev1.Service{})))

	w.caughtUp()
	if got := w.writes(in); got != 4 {
		t.Errorf("putting four objects right took %d writes", got)
	}
	if got := *get(w, "shop-pool", &appsv1.Deployment{}).Spec.Replicas; got != 2 {
		t.Errorf("the Deployment has %d replicas, want 2", got)
	}
	if got := get(w, "shop-pool", &corev1.ServiceAccount{}).Labels[manifests.PoolLabel]; got != "shop" {
		t.Errorf("the ServiceAccount's label is %q", got)
	}
	if got := string(get(w, "shop-pool", &corev1.Secret{}).Data["password"]); got != "hidden-in-the-secret" {
		t.Errorf("the Secret's password is %q", got)
	}
	if !w.exists("shop-pool", &corev1.Service{}) {
		t.Error("the Service is gone")
	}
	w.caughtUp()
	if got := w.writes(in); got != 0 {
		t.Errorf("the pass after it took %d writes", got)
	}
}

func TestWhatOthersAddIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	in := w.inputs()
	w.mustApply(in)
	service := get(w, "shop-pool", &corev1.Service{})
	service.Annotations = map[string]string{"example.com/cost-centre": "7"}
	w.must(someone().Update(t.Context(), service))
	w.caughtUp()

	in.Service.Type = corev1.ServiceTypeNodePort
	w.mustApply(in)
	after := get(w, "shop-pool", &corev1.Service{})
	if after.Spec.Type != corev1.ServiceTypeNodePort || after.Annotations["example.com/cost-centre"] != "7" {
		t.Errorf("the Service is of type %s with annotations %v", after.Spec.Type, after.Annotations)
	}
}

func TestAForeignObjectIsRefusedAndUntouched(t *testing.T) {
	w := newWorld(t)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.pool.Namespace, Name: "shop-pool",
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "example.com/v1", Kind: "Database", Name: "orders", UID: "uid-of-orders", Controller: new(true),
			}},
		},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	nobodys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.pool.Namespace, Name: "shop-pooler",
		Labels: manifests.Labels("shop"), // Labels are easily copied: they make nothing ours.
	}}
	w.must(someone().Create(t.Context(), foreign))
	w.must(someone().Create(t.Context(), nobodys))
	in := w.inputs()

	for range 2 {
		err := w.apply(in)
		want := map[string]ConflictError{
			"Service": {Kind: "Service", Namespace: w.pool.Namespace, Name: "shop-pool", Owner: "Database/orders"},
			"Secret":  {Kind: "Secret", Namespace: w.pool.Namespace, Name: "shop-pooler"},
		}
		if diff := cmp.Diff(want, conflicts(t, err)); diff != "" {
			t.Errorf("conflicts differ (-want +got):\n%s", diff)
		}
		w.mustPrune(w.inputs())
	}
	if diff := cmp.Diff(foreign, get(w, "shop-pool", &corev1.Service{})); diff != "" {
		t.Errorf("the Service was touched (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(nobodys, get(w, "shop-pooler", &corev1.Secret{})); diff != "" {
		t.Errorf("the Secret was touched (-before +after):\n%s", diff)
	}
	if !w.exists("shop-pool", &appsv1.Deployment{}) {
		t.Error("the objects that are nobody else's were held up")
	}

	t.Run("and made once it has gone", func(t *testing.T) {
		w.must(someone().Delete(t.Context(), foreign))
		w.must(someone().Delete(t.Context(), nobodys))
		w.mustApply(in)
		if !metav1.IsControlledBy(get(w, "shop-pool", &corev1.Service{}), w.pool) {
			t.Error("the Service is not the pool's")
		}
	})
}

// conflicts returns the conflicts in a joined error, by kind. Any other error fails.
func conflicts(t *testing.T, err error) map[string]ConflictError {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want conflicts", err)
	}
	all := map[string]ConflictError{}
	for _, one := range joined.Unwrap() {
		var conflict *ConflictError
		if !errors.As(one, &conflict) {
			t.Fatalf("got %v, want a conflict", one)
		}
		all[conflict.Kind] = *conflict
	}
	return all
}

func TestWhatADeletedPoolOfTheSameNameLeftIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.mustApply(w.inputs())
	before := get(w, "shop-pool", &corev1.Service{})

	w.pool = aPool(w.pool.Namespace, "shop", "uid-of-the-next-shop")
	found := conflicts(t, w.apply(w.inputs()))
	want := ConflictError{
		Kind: "Service", Namespace: w.pool.Namespace, Name: "shop-pool",
		Owner: "ConnectionPool/shop", Predecessor: true,
	}
	if diff := cmp.Diff(want, found["Service"]); diff != "" {
		t.Errorf("the conflict differs (-want +got):\n%s", diff)
	}
	w.mustPrune(w.inputs())
	if diff := cmp.Diff(before, get(w, "shop-pool", &corev1.Service{})); diff != "" {
		t.Errorf("the Service was touched (-before +after):\n%s", diff)
	}
}

func TestANameTakenBetweenLookAndWriteIsNotTakenOver(t *testing.T) {
	foreign := func(w *world) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.pool.Namespace, Name: "shop-pool"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "shop"}},
		}
	}
	only := func(w *world) runtime.ApplyConfiguration {
		for _, object := range manifests.Build(w.inputs()) {
			if encoded, err := encode(object); err == nil && encoded.key.kind.Kind == "Service" {
				return object
			}
		}
		t.Fatal("no Service among the objects")
		return nil
	}
	check := func(t *testing.T, w *world, service *corev1.Service, err error) {
		t.Helper()
		want := map[string]ConflictError{"Service": {Kind: "Service", Namespace: w.pool.Namespace, Name: "shop-pool"}}
		if diff := cmp.Diff(want, conflicts(t, err)); diff != "" {
			t.Errorf("conflicts differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(service, get(w, "shop-pool", &corev1.Service{})); diff != "" {
			t.Errorf("the Service was touched (-before +after):\n%s", diff)
		}
	}

	t.Run("where nothing was", func(t *testing.T) {
		w := newWorld(t)
		service := foreign(w)
		w.client.beforeApply = func() { w.must(someone().Create(t.Context(), service)) }
		check(t, w, service, w.applier.Apply(t.Context(), w.pool, only(w)))
	})
	t.Run("where the pool's own was", func(t *testing.T) {
		w := newWorld(t)
		w.mustApply(w.inputs())
		w.applier = NewApplier(w.client, apiServer.GetAPIReader())
		service := foreign(w)
		w.client.beforeApply = func() {
			w.must(someone().Delete(t.Context(), get(w, "shop-pool", &corev1.Service{})))
			w.must(someone().Create(t.Context(), service))
		}
		check(t, w, service, w.applier.Apply(t.Context(), w.pool, only(w)))
	})
	t.Run("and an object that goes in between is made again", func(t *testing.T) {
		w := newWorld(t)
		w.mustApply(w.inputs())
		w.applier = NewApplier(w.client, apiServer.GetAPIReader())
		w.client.beforeApply = func() {
			w.must(someone().Delete(t.Context(), get(w, "shop-pool", &corev1.Service{})))
		}
		w.must(w.applier.Apply(t.Context(), w.pool, only(w)))
		if !metav1.IsControlledBy(get(w, "shop-pool", &corev1.Service{}), w.pool) {
			t.Error("the Service is not the pool's")
		}
	})
}

func TestARefusedObjectIsExplainedWithoutItsSecrets(t *testing.T) {
	t.Run("a Secret names fields alone", func(t *testing.T) {
		w := newWorld(t)
		owned := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.pool.Namespace, Name: "shop-pool",
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(w.pool, poolv1.SchemeGroupVersion.WithKind("ConnectionPool"))},
		}, Type: "example.com/hidden-type"}
		w.must(someone().Create(t.Context(), owned))
		err := w.apply(w.inputs())
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("got %v, want a refusal", err)
		}
		want := RefusedError{
			Kind: "Secret", Namespace: w.pool.Namespace, Name: "shop-pool",
			Reason: "Invalid", Detail: "type (FieldValueInvalid)",
		}
		if diff := cmp.Diff(want, *refused); diff != "" {
			t.Errorf("the refusal differs (-want +got):\n%s", diff)
		}
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error quotes the Secret: %v", err)
		}
	})
	t.Run("any other object tells why", func(t *testing.T) {
		w := newWorld(t)
		in := w.inputs()
		in.Pod.PriorityClassName = "Not A Name"
		err := w.apply(in)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Kind != "Deployment" || refused.Reason != "Invalid" {
			t.Fatalf("got %v, want a refused Deployment", err)
		}
		if !strings.HasPrefix(refused.Detail, "spec.template.spec.priorityClassName: Invalid value") {
			t.Errorf("the detail is %q", refused.Detail)
		}
	})
}
