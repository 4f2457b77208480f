// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A definition that is pruned takes every pool of the cluster with it. Sources: Argo
// CD's documentation, "Sync Options: No Prune Resources"; Flux's, "Kustomization: Prune".
func TestGitOpsToolsDoNotPruneTheDefinitions(t *testing.T) {
	for from, objects := range map[string][]unstructured.Unstructured{"chart": rendered(t), "kustomization": kustomized(t)} {
		kept := 0
		for _, object := range objects {
			said := object.GetAnnotations()
			if object.GetKind() == "CustomResourceDefinition" &&
				said["argocd.argoproj.io/sync-options"] == "Prune=false" && said["kustomize.toolkit.fluxcd.io/prune"] == "disabled" {
				kept++
			}
		}
		if kept != 2 {
			t.Errorf("%d definitions of the %s are never pruned, want ConnectionPool's and Upstream's", kept, from)
		}
	}
}

func TestTheComponentForArgoCDAddsItsHealthChecks(t *testing.T) {
	objects := kustomizedHere(t, map[string]string{
		"kustomization.yaml": "resources: [argocd-cm.yaml]\ncomponents: [COMPONENTS/argocd]\n",
		"argocd-cm.yaml":     "{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {url: https://argocd.example.com}}",
	})
	if len(objects) != 1 || objects[0].GetName() != "argocd-cm" {
		t.Fatalf("there are %d objects, want argocd-cm alone: %v", len(objects), objects)
	}
	data, _, err := unstructured.NestedStringMap(objects[0].Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	if data["url"] != "https://argocd.example.com" {
		t.Error("Argo CD's own settings are gone")
	}
	for _, kind := range []string{"ConnectionPool", "Upstream"} {
		lua, err := os.ReadFile(top("config/argocd/" + kind + ".lua"))
		if err != nil {
			t.Fatal(err)
		}
		if data["resource.customizations.health.poolfleet.dev_"+kind] != string(lua) {
			t.Errorf("argocd-cm has no health check of %s", kind)
		}
	}
}

// kustomizedHere renders a kustomization of these files. COMPONENTS stands for config,
// which kustomize wants to be named from where they are.
func kustomizedHere(t *testing.T, files map[string]string) []unstructured.Unstructured {
	t.Helper()
	config, err := filepath.Abs(top("config"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.ReplaceAll(text, "COMPONENTS", relative)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return kustomizedDir(t, dir)
}
