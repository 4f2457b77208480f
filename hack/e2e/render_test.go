// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// top is a path of the repository: tests run in the directory of their package.
func top(path string) string { return filepath.Join("..", "..", path) }

// tools are the helm and kubectl that `make` builds, so that a machine's own
// versions do not decide what is tested.
func tools(t *testing.T) install.Tools {
	t.Helper()
	found := install.Tools{}
	for name, path := range map[string]*string{"kubectl": &found.Kubectl, "helm": &found.Helm} {
		var err error
		if *path, err = install.FindTool(top(".cache/bin"), name); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// chart is the chart with images in a registry that nobody has.
func chart(t *testing.T, set ...string) install.Chart {
	t.Helper()
	image := func(name string) install.Image {
		return install.Image{Reference: "registry.example.com:5000/poolfleet/" + name + "@" + aDigest}
	}
	return install.Chart{
		Tools: tools(t), Dir: top("charts/poolfleet"), Set: set,
		Images: install.Images{Manager: image("manager"), Pooler: image("pooler"), Edge: image("edge")},
	}
}

func rendered(t *testing.T, set ...string) []unstructured.Unstructured {
	t.Helper()
	text, err := chart(t, set...).Template(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

// kustomized renders config/default with the images that chart has.
func kustomized(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	images := chart(t).Images
	dir := t.TempDir()
	if err := install.Kustomization(top("config"), dir, images); err != nil {
		t.Fatal(err)
	}
	return kustomizedDir(t, filepath.Join(dir, "default"))
}

// kustomizedDir renders a directory that has a kustomization.
func kustomizedDir(t *testing.T, dir string) []unstructured.Unstructured {
	t.Helper()
	found := tools(t)
	text, err := found.Run(t.Context(), "", found.Kubectl, "kustomize", dir)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func parse(t *testing.T, text string) []unstructured.Unstructured {
	t.Helper()
	var objects []unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("parsing %s: %v", document, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

func only(t *testing.T, objects []unstructured.Unstructured, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	for i, object := range objects {
		if object.GetKind() == kind && object.GetNamespace() == namespace && object.GetName() == name {
			return &objects[i]
		}
	}
	t.Fatalf("there is no %s %s/%s", kind, namespace, name)
	return nil
}

func convert(t *testing.T, from *unstructured.Unstructured, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from.Object, into, true); err != nil {
		t.Fatal(err)
	}
}

// essence is what objects mean, by kind and name: without labels and annotations,
// which tell who installed them, and with the environment put into the arguments.
func essence(t *testing.T, objects []unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	meaning := map[string]map[string]any{}
	for _, object := range objects {
		object = *object.DeepCopy()
		key := object.GetKind() + "/" + object.GetName()
		if object.GetKind() == "Deployment" {
			meaning[key] = map[string]any{"namespace": object.GetNamespace(), "spec": resolved(t, objects, object)}
			continue
		}
		metadata := map[string]any{"name": object.GetName()}
		if namespace := object.GetNamespace(); namespace != "" {
			metadata["namespace"] = namespace
		}
		object.Object["metadata"] = metadata
		meaning[key] = object.Object
	}
	return meaning
}

// resolved is a Deployment's spec without the environment that its arguments name.
func resolved(t *testing.T, objects []unstructured.Unstructured, object unstructured.Unstructured) appsv1.DeploymentSpec {
	t.Helper()
	var deployment appsv1.Deployment
	convert(t, &object, &deployment)
	container := &deployment.Spec.Template.Spec.Containers[0]
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil && from.ConfigMapKeyRef != nil {
			var settings corev1.ConfigMap
			convert(t, only(t, objects, "ConfigMap", object.GetNamespace(), from.ConfigMapKeyRef.Name), &settings)
			value = settings.Data[from.ConfigMapKeyRef.Key]
		}
		for i := range container.Args {
			if value != "" {
				container.Args[i] = strings.ReplaceAll(container.Args[i], "$("+variable.Name+")", value)
			}
		}
	}
	container.Env = nil
	return deployment.Spec
}

// permissions are what rules allow, one line each, however they are grouped.
func permissions(rules []rbacv1.PolicyRule) []string {
	set := map[string]bool{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					set[verb+" "+resource+"."+group] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
