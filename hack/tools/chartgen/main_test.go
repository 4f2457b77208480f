// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const definitionText = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    controller-gen.kubebuilder.io/version: v0.23.0
  name: pools.example.dev
spec:
  group: example.dev
  names:
    kind: Pool
    plural: pools
  scope: Namespaced
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        description: Spelled "{{ .Name }}", {{{nested}}} or {{- trimmed -}} in text.
        type: object
    served: true
    storage: true
`

const roleText = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: manager
rules:
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - get
  - list
`

const alertsText = `# Why.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: pools
spec:
  groups:
    - name: pools
      rules:
        # When.
        - alert: Down
          expr: |
            up == 0

        - alert: {{ .Up }}
`

func TestTheTemplateInstallsTheDefinitionAndKeepsIt(t *testing.T) {
	chart := generated(t)
	var want, got apiextensionsv1.CustomResourceDefinition
	parse(t, []byte(definitionText), &want)
	want.Annotations["helm.sh/resource-policy"] = "keep"
	parse(t, rendered(t, chart, true), &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed definition (-source +installed):\n%s", diff)
	}
}

func TestTheTemplateIsEmptyWhenDefinitionsAreInstalledOtherwise(t *testing.T) {
	got := rendered(t, generated(t), false)
	var object map[string]any
	parse(t, got, &object)
	if len(object) != 0 {
		t.Errorf("rendered %q, want nothing to install", got)
	}
}

func TestTheRulesFileHoldsTheRulesAlone(t *testing.T) {
	var got []rbacv1.PolicyRule
	parse(t, read(t, generated(t), "manager-rules.yaml"), &got)
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestAlertsAndDashboardAreFilesOfTheChart(t *testing.T) {
	chart := generated(t)
	for name, want := range map[string]string{
		"rules/poolfleet.yaml": generatedBy + `groups:
  - name: pools
    rules:
      # When.
      - alert: Down
        expr: |
          up == 0

      - alert: {{ .Up }}
`,
		"dashboards/poolfleet.json": "{}\n",
	} {
		if diff := cmp.Diff(want, string(read(t, chart, name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheTemplateOfAVanishedDefinitionIsRemoved(t *testing.T) {
	config, chart := directories(t, definitionText, roleText)
	stale, own := filepath.Join(chart, "templates", "crd-gone.yaml"), filepath.Join(chart, "templates", "deployment.yaml")
	for _, path := range []string{stale, own} {
		put(t, path, "a: b\n")
	}
	if err := run(config, chart); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the stale template is still there: %v", err)
	}
	if _, err := os.Stat(own); err != nil {
		t.Errorf("a template written by hand was touched: %v", err)
	}
}

func TestWhatIsNoPrometheusRuleIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"another kind":      strings.Replace(alertsText, "PrometheusRule", "Rules", 1),
		"rules of nobody's": "kind: PrometheusRule\ngroups: []\n",
		"a second document": alertsText + "---\nkind: PrometheusRule\n",
	} {
		t.Run(name, func(t *testing.T) {
			config, chart := directories(t, definitionText, roleText)
			put(t, filepath.Join(config, "monitoring", "rules.yaml"), text)
			if err := run(config, chart); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestWhatIsNotADefinitionOrARoleIsRefused(t *testing.T) {
	cases := map[string][2]string{
		"another kind among the definitions":   {roleText, roleText},
		"a definition laid out in another way": {"kind: CustomResourceDefinition\nspec: {names: {plural: pools}}\n", roleText},
		"a namespaced role beside the other":   {definitionText, roleText + roleText},
		"a role without rules":                 {definitionText, "kind: ClusterRole\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			config, chart := directories(t, tc[0], tc[1])
			if err := run(config, chart); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func generated(t *testing.T) string {
	t.Helper()
	config, chart := directories(t, definitionText, roleText)
	if err := run(config, chart); err != nil {
		t.Fatal(err)
	}
	return chart
}

func directories(t *testing.T, definition, role string) (config, chart string) {
	t.Helper()
	root := t.TempDir()
	config, chart = filepath.Join(root, "config"), filepath.Join(root, "chart")
	put(t, filepath.Join(config, "crd", "bases", "example.dev_pools.yaml"), definition)
	put(t, filepath.Join(config, "rbac", "role.yaml"), role)
	put(t, filepath.Join(config, "monitoring", "rules.yaml"), alertsText)
	put(t, filepath.Join(config, "monitoring", "dashboard.json"), "{}\n")
	return config, chart
}

// rendered runs the template as Helm does, whose engine is Go's.
func rendered(t *testing.T, chart string, install bool) []byte {
	t.Helper()
	parsed, err := template.ParseFiles(filepath.Join(chart, "templates", "crd-pools.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	values := map[string]any{"Values": map[string]any{"crds": map[string]any{"install": install}}}
	if err := parsed.Execute(&out, values); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read returns one of the chart's files.
func read(t *testing.T, chart, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chart, "files", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func parse(t *testing.T, source []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(source, into); err != nil {
		t.Fatalf("parsing %s: %v", source, err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
