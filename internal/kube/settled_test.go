// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

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

func TestSecretsAreCachedAsMetadataAlone(t *testing.T) {
	for _, object := range OwnedObjects() {
		if _, whole := object.(*corev1.Secret); whole {
			t.Error("Secrets would be listed whole")
		}
	}
}
