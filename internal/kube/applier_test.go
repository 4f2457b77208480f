// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// versions returns the resource version of each object of a list, by name.
func versions(t *testing.T, list runtime.Object) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			all[object.GetName()] = object.GetResourceVersion()
		}
		return err
	})
	if err != nil {
		t.Fatalf("reading a list: %v", err)
	}
	return all
}

func TestASettledPoolIsNotWrittenAgain(t *testing.T) {
	w := newWorld(t)
	in := w.inputs()
	if got, want := w.writes(in), len(manifests.Build(in)); got != want {
		t.Errorf("the first pass took %d writes, want one for each of the %d objects", got, want)
	}
	if got := w.writes(in); got != 0 {
		t.Errorf("a pass before the cache had caught up took %d writes", got)
	}
	w.caughtUp()
	if got := w.writes(in); got != 0 {
		t.Errorf("a pass over a settled pool took %d writes", got)
	}

	t.Run("when the Deployment's controller reports", func(t *testing.T) {
		deployment := get(w, "shop-pool", &appsv1.Deployment{})
		deployment.Annotations = map[string]string{"deployment.kubernetes.io/revision": "1"}
		deployment.Status.ObservedGeneration = deployment.Generation
		deployment.Status.Replicas = 2
		w.must(someone().Status().Update(t.Context(), deployment))
		w.caughtUp()
		if got := w.writes(in); got != 0 {
			t.Errorf("a pass took %d writes", got)
		}
	})
	t.Run("when the operator has started anew, but for one look at each object", func(t *testing.T) {
		before := get(w, "shop-pool", &appsv1.Deployment{})
		w.applier = NewApplier(w.client, apiServer.GetAPIReader())
		w.mustApply(in)
		if diff := cmp.Diff(before, get(w, "shop-pool", &appsv1.Deployment{})); diff != "" {
			t.Errorf("the Deployment changed (-before +after):\n%s", diff)
		}
		if got := w.writes(in); got != 0 {
			t.Errorf("the pass after it took %d writes", got)
		}
	})
}

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

func TestPruneRemovesOnlyWhatIsOurs(t *testing.T) {
	w := newWorld(t)
	in := w.inputs()
	w.mustApply(in)

	other := aPool(w.pool.Namespace, "shop-two", "uid-of-shop-two")
	theirs := w.inputs()
	theirs.Pool.Name, theirs.Pool.UID = other.Name, other.UID
	w.must(w.applier.Apply(t.Context(), other, manifests.Build(theirs)...))
	copied := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.pool.Namespace, Name: "copied", Labels: manifests.Labels("shop"),
	}}
	w.must(someone().Create(t.Context(), copied))
	w.caughtUp()

	in.NetworkPolicy.Mode = poolv1.NetworkPolicyDisabled
	in.Secret.Name = "shop-urls"
	w.mustApply(in)
	w.mustPrune(in)

	gone := map[string]client.Object{"NetworkPolicy shop-pool": &networkingv1.NetworkPolicy{}, "Secret shop-pool": &corev1.Secret{}}
	for name, object := range gone {
		if w.exists("shop-pool", object) {
			t.Errorf("%s is still there", name)
		}
	}
	kept := map[string]client.Object{
		"shop-urls": &corev1.Secret{}, "shop-pooler": &corev1.Secret{},
		"shop-two-pool": &networkingv1.NetworkPolicy{}, "copied": &networkingv1.NetworkPolicy{},
	}
	for name, object := range kept {
		if !w.exists(name, object) {
			t.Errorf("%T %s is gone", object, name)
		}
	}
	w.caughtUp()
	if got := w.writes(in); got != 0 {
		t.Errorf("the pass after it took %d writes", got)
	}
}

func TestForgettingAPoolForgetsItsObjectsAlone(t *testing.T) {
	w := newWorld(t)
	w.mustApply(w.inputs())
	w.applier.Forget(client.ObjectKey{Namespace: w.pool.Namespace, Name: "another"})
	if got := w.writes(w.inputs()); got != 0 {
		t.Errorf("a pass after another pool was forgotten took %d writes", got)
	}
	w.applier.Forget(client.ObjectKeyFromObject(w.pool))
	if len(w.applier.applied) != 0 {
		t.Errorf("still remembered: %v", w.applier.applied)
	}
}

func TestTheAPIServerTakesWhatIsBuiltOfEverySpec(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("..", "manifests", "testdata", "*.in.yaml"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".in.yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			var in manifests.Inputs
			if err := yaml.UnmarshalStrict(data, &in); err != nil {
				t.Fatal(err)
			}
			in.Pool = w.inputs().Pool
			w.mustApply(in)
			w.caughtUp()
			if got := w.writes(in); got != 0 {
				t.Errorf("the second pass took %d writes", got)
			}
		})
	}
}

func TestSecretsAreCachedAsMetadataAlone(t *testing.T) {
	for _, object := range OwnedObjects() {
		if _, whole := object.(*corev1.Secret); whole {
			t.Error("Secrets would be listed whole")
		}
	}
}
