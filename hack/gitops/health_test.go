// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// healths is where Argo CD's installations take the Lua from.
const healths = "../../config/argocd"

// state is one that the operator's own tests have conditions for.
type state struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Conditions []any  `json:"conditions"`
}

// verdict is what tools are to make of a state. The operator's own tests hold kstatus
// against it, which needs newer libraries than Argo CD does.
type verdict struct {
	ArgoCD  string `json:"argocd"`
	Kstatus string `json:"kstatus"`
}

func read[T any](t *testing.T, file string) map[string]T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]T
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// object is one in a state. Its spec is as new as the conditions, or newer.
func (s state) object(newer int64) *unstructured.Unstructured {
	generation := newer
	if first, ok := s.Conditions[0].(map[string]any); ok {
		seen, _ := first["observedGeneration"].(float64)
		generation += int64(seen)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "poolfleet.dev/v1alpha1", "kind": s.Kind,
		"metadata": map[string]any{"name": "shop", "namespace": "web", "generation": generation},
		"status":   map[string]any{"observedGeneration": generation - newer, "conditions": s.Conditions},
	}}
}

// argoCD is what Argo CD's own engine makes of an object by our Lua.
func argoCD(t *testing.T, object *unstructured.Unstructured) *health.HealthStatus {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(healths, object.GetKind()+".lua"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := (lua.VM{}).ExecuteHealthLua(object, string(script))
	if err != nil {
		t.Fatalf("running %s.lua: %v", object.GetKind(), err)
	}
	return got
}

func TestArgoCDSeesEachStateAsItIs(t *testing.T) {
	states, verdicts := read[state](t, "states.yaml"), read[verdict](t, "verdicts.yaml")
	for _, name := range slices.Sorted(maps.Keys(verdicts)) {
		if _, known := states[name]; !known {
			t.Errorf("there is a verdict on %q, which is no state", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		object := states[name].object(0)
		got := argoCD(t, object)
		if want := verdicts[name].ArgoCD; string(got.Status) != want {
			t.Errorf("%q: Argo CD sees %s, want %s", name, got.Status, want)
		}
		if got.Message == "" {
			t.Errorf("%q: Argo CD has nothing to say of it", name)
		}
	}
}

func TestAnOlderStatusSaysNothingOfANewerSpec(t *testing.T) {
	for name, s := range read[state](t, "states.yaml") {
		object := s.object(1)
		if got := argoCD(t, object); got.Status != health.HealthStatusProgressing {
			t.Errorf("%q: Argo CD sees %s", name, got.Status)
		}
	}
}

func TestWhatHasNoStatusYetIsOnItsWay(t *testing.T) {
	for _, kind := range []string{"ConnectionPool", "Upstream"} {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "poolfleet.dev/v1alpha1", "kind": kind, "metadata": map[string]any{"name": "shop", "generation": int64(1)},
		}}
		if got := argoCD(t, object); got.Status != health.HealthStatusProgressing {
			t.Errorf("Argo CD sees a new %s as %s", kind, got.Status)
		}
	}
}
