// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

func monitored(t *testing.T, set ...string) []unstructured.Unstructured {
	t.Helper()
	return rendered(t, slices.Concat([]string{"monitoring.enabled=true", "monitoring.podMonitor.interval=15s", "monitoring.podMonitor.labels.release=prometheus"}, set)...)
}

func podMonitor(t *testing.T, objects []unstructured.Unstructured, name string) monitoringv1.PodMonitor {
	t.Helper()
	var monitor monitoringv1.PodMonitor
	convert(t, only(t, objects, "PodMonitor", install.Namespace, name), &monitor)
	if monitor.Labels["release"] != "prometheus" {
		t.Errorf("PodMonitor %s has the labels %v", name, monitor.Labels)
	}
	for _, endpoint := range monitor.Spec.PodMetricsEndpoints {
		if endpoint.Interval != "15s" || endpoint.Path != contract.MetricsPath {
			t.Errorf("PodMonitor %s scrapes %s every %s", name, endpoint.Path, endpoint.Interval)
		}
	}
	return monitor
}

func TestMonitoringIsInstalledOnlyWhereItIsAskedFor(t *testing.T) {
	foreign := func(object unstructured.Unstructured) bool {
		return object.GroupVersionKind().Group == "monitoring.coreos.com" || strings.HasSuffix(object.GetName(), "-dashboard")
	}
	if slices.ContainsFunc(rendered(t), foreign) {
		t.Error("objects for Prometheus or Grafana are installed unasked")
	}
	parts := []string{"monitoring.podMonitor.enabled=false", "monitoring.rules.enabled=false"}
	if slices.ContainsFunc(monitored(t, parts...), foreign) {
		t.Error("objects for Prometheus are installed although each part is off")
	}
	for _, object := range monitored(t, "edge.enabled=false") {
		if object.GetKind() == "PodMonitor" && strings.HasSuffix(object.GetName(), "-edge") {
			t.Error("a gateway that is not there is scraped")
		}
	}
}

func TestPodMonitorsSelectThePodsAndTheirPort(t *testing.T) {
	objects := monitored(t, append(edgeValues, ownTLS)...)
	for name, pod := range map[string]corev1.PodTemplateSpec{
		install.Manager: managerOf(t, objects).Spec.Template,
		install.Gateway: gatewayOf(t, objects).Spec.Template,
	} {
		monitor := podMonitor(t, objects, name)
		selector := labels.SelectorFromSet(monitor.Spec.Selector.MatchLabels)
		if !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("PodMonitor %s selects %s, its pod has %v", name, selector, pod.Labels)
		}
		endpoint := monitor.Spec.PodMetricsEndpoints[0]
		if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(port corev1.ContainerPort) bool { return port.Name == *endpoint.Port }) {
			t.Errorf("%s has no port %s", name, *endpoint.Port)
		}
		if !endpoint.HonorLabels {
			t.Errorf("%s: the namespace of a pool would be that of the pod that tells of it", name)
		}
	}
	poolers := podMonitor(t, objects, "poolfleet-poolers")
	if selector := labels.SelectorFromSet(poolers.Spec.Selector.MatchLabels); !selector.Matches(labels.Set(manifests.Labels("shop"))) {
		t.Errorf("poolers are selected by %s, they have %v", selector, manifests.Labels("shop"))
	}
	source := "__meta_kubernetes_pod_label_" + strings.NewReplacer(".", "_", "/", "_").Replace(manifests.PoolLabel)
	if relabel := poolers.Spec.PodMetricsEndpoints[0].RelabelConfigs[0]; string(relabel.SourceLabels[0]) != source || relabel.TargetLabel != "pool" {
		t.Errorf("the label pool of poolers comes from %v, want %s", relabel.SourceLabels, source)
	}
}

func TestPoolersAreScrapedInTheWatchedNamespaces(t *testing.T) {
	all := podMonitor(t, monitored(t), "poolfleet-poolers").Spec.NamespaceSelector
	some := podMonitor(t, monitored(t, "watchNamespaces={shop,billing}"), "poolfleet-poolers").Spec.NamespaceSelector
	if diff := cmp.Diff(monitoringv1.NamespaceSelector{Any: true}, all); diff != "" {
		t.Errorf("everywhere (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(monitoringv1.NamespaceSelector{MatchNames: []string{"shop", "billing"}}, some); diff != "" {
		t.Errorf("in two namespaces (-want +got):\n%s", diff)
	}
}

func TestScrapersAreNamedToTheManager(t *testing.T) {
	manager := managerOf(t, rendered(t, "monitoring.scraperNamespaces={prometheus,tools}"))
	if want := "--scraper-namespaces=prometheus,tools"; !slices.Contains(manager.Spec.Template.Spec.Containers[0].Args, want) {
		t.Errorf("the manager's arguments are %q, want %s among them", manager.Spec.Template.Spec.Containers[0].Args, want)
	}
}

func TestTheChartHasTheRulesAsTheyAreInTheirFile(t *testing.T) {
	data, err := os.ReadFile(top("charts/poolfleet/files/rules/poolfleet.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rule monitoringv1.PrometheusRule
	convert(t, only(t, monitored(t, "monitoring.rules.labels.role=alerts"), "PrometheusRule", install.Namespace, "poolfleet"), &rule)
	var file monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, rule.Spec); diff != "" || rule.Labels["role"] != "alerts" {
		t.Errorf("labels %v; rules (-file +chart):\n%s", rule.Labels, diff)
	}
}

func TestTheComponentForMonitoringIsWhatTheChartInstalls(t *testing.T) {
	component := kustomizedHere(t, map[string]string{"kustomization.yaml": `
components: [COMPONENTS/monitoring]
patches:
  - target: {group: monitoring.coreos.com}
    patch: |
      - {op: add, path: /metadata/labels/release, value: prometheus}
`})
	with := slices.Concat([]string{"monitoring.enabled=true", "monitoring.dashboard.enabled=true", ownTLS}, edgeValues)
	installed := slices.DeleteFunc(rendered(t, with...), func(object unstructured.Unstructured) bool {
		return object.GroupVersionKind().Group != monitoringv1.SchemeGroupVersion.Group && object.GetName() != "poolfleet-dashboard"
	})
	chart, kustomize := essence(t, installed), essence(t, component)
	sameDashboard(t, chart, kustomize)
	if diff := cmp.Diff(chart, kustomize); diff != "" || len(chart) != 5 {
		t.Errorf("%d objects for Prometheus and Grafana (-chart +kustomize):\n%s", len(chart), diff)
	}
	for _, object := range component {
		selects := map[bool][2]string{true: {"grafana_dashboard", "1"}, false: {"release", "prometheus"}}[object.GetKind() == "ConfigMap"]
		if object.GetLabels()[selects[0]] != selects[1] {
			t.Errorf("%s %s has the labels %v", object.GetKind(), object.GetName(), object.GetLabels())
		}
	}
}

// sameDashboard compares the dashboards, whose text the chart indents, and takes them out.
func sameDashboard(t *testing.T, chart, kustomize map[string]map[string]any) {
	t.Helper()
	var dashboards [2]any
	for i, objects := range []map[string]map[string]any{chart, kustomize} {
		text, _, err := unstructured.NestedString(objects["ConfigMap/poolfleet-dashboard"], "data", "poolfleet.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &dashboards[i]); err != nil {
			t.Fatal(err)
		}
		unstructured.RemoveNestedField(objects["ConfigMap/poolfleet-dashboard"], "data")
	}
	if diff := cmp.Diff(dashboards[0], dashboards[1]); diff != "" {
		t.Errorf("dashboards (-chart +kustomize):\n%s", diff)
	}
}
