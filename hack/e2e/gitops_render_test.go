// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
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
	component, err := filepath.Abs(top("config/argocd"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, component)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"kustomization.yaml": "resources: [argocd-cm.yaml]\ncomponents: [" + relative + "]\n",
		"argocd-cm.yaml":     "{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {url: https://argocd.example.com}}",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := tools(t)
	text, err := found.Run(t.Context(), "", found.Kubectl, "kustomize", dir)
	if err != nil {
		t.Fatal(err)
	}
	objects := parse(t, text)
	if len(objects) != 1 || objects[0].GetName() != "argocd-cm" {
		t.Fatalf("there are %d objects, want argocd-cm alone: %s", len(objects), text)
	}
	data, _, err := unstructured.NestedStringMap(objects[0].Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	if data["url"] != "https://argocd.example.com" {
		t.Error("Argo CD's own settings are gone")
	}
	for _, kind := range []string{"ConnectionPool", "Upstream"} {
		lua, err := os.ReadFile(filepath.Join(component, kind+".lua"))
		if err != nil {
			t.Fatal(err)
		}
		if data["resource.customizations.health.poolfleet.dev_"+kind] != string(lua) {
			t.Errorf("argocd-cm has no health check of %s", kind)
		}
	}
}
