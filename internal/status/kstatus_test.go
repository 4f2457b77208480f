// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"os"
	"slices"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// verdictsFile is what tools are to make of each state; Argo CD's own code is tried
// beside it.
const verdictsFile = "../../hack/gitops/testdata/verdicts.yaml"

// verdict is on one state.
type verdict struct {
	ArgoCD  string `json:"argocd"`
	Kstatus string `json:"kstatus"`
}

// agreement is which words of kstatus go with one of Argo CD's. kstatus has none for
// what is suspended.
var agreement = map[string][]string{
	"Healthy": {"Current"}, "Degraded": {"Failed"}, "Progressing": {"InProgress"}, "Suspended": {"InProgress", "Failed"},
}

// object is what kstatus sees: a spec that is as new as the conditions, or newer.
func (s state) object(t *testing.T, newer int64) *unstructured.Unstructured {
	t.Helper()
	seen := s.Conditions[0].ObservedGeneration
	object := &poolv1.ConnectionPool{
		TypeMeta:   metav1.TypeMeta{APIVersion: "poolfleet.dev/v1alpha1", Kind: s.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "web", Generation: seen + newer},
		Status:     poolv1.ConnectionPoolStatus{ObservedGeneration: &seen, Conditions: s.Conditions},
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}

func TestKstatusSeesEachStateAsItIs(t *testing.T) {
	text, err := os.ReadFile(verdictsFile)
	if err != nil {
		t.Fatal(err)
	}
	var verdicts map[string]verdict
	if err := yaml.UnmarshalStrict(text, &verdicts); err != nil {
		t.Fatal(err)
	}
	for name, s := range states() {
		got, err := kstatus.Compute(s.object(t, 0))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := verdicts[name]
		if string(got.Status) != want.Kstatus {
			t.Errorf("%q: kstatus sees %s, want %s", name, got.Status, want.Kstatus)
		}
		if !slices.Contains(agreement[want.ArgoCD], want.Kstatus) {
			t.Errorf("%q: kstatus and Argo CD do not agree: %+v", name, want)
		}
		if got, err := kstatus.Compute(s.object(t, 1)); err != nil || got.Status != kstatus.InProgressStatus {
			t.Errorf("%q, with a newer spec: kstatus sees %v, %v", name, got, err)
		}
	}
}
