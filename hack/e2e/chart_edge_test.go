// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// withEdge renders the chart with the gateway, which is given no certificate.
func withEdge(t *testing.T, set ...string) []unstructured.Unstructured {
	t.Helper()
	return rendered(t, slices.Concat(edgeValues, set)...)
}

var edgeValues = []string{"edge.enabled=true", "edge.domain=edge.example.com", "edge.image.repository=registry.example.com/edge"}

// ownTLS has the gateway itself speak TLS.
const ownTLS = "edge.tls.secretName=" + install.GatewaySecret

func gatewayOf(t *testing.T, objects []unstructured.Unstructured) appsv1.Deployment {
	t.Helper()
	var deployment appsv1.Deployment
	convert(t, only(t, objects, "Deployment", install.Namespace, install.Gateway), &deployment)
	return deployment
}

func TestTheGatewayIsInstalledOnlyWhereItIsAskedFor(t *testing.T) {
	for _, object := range rendered(t, ownTLS, "edge.domain=edge.example.com") {
		if strings.Contains(object.GetName(), "-edge") {
			t.Errorf("there is a %s %s", object.GetKind(), object.GetName())
		}
	}
	if args := managerOf(t, rendered(t)).Spec.Template.Spec.Containers[0].Args; strings.Contains(strings.Join(args, " "), "edge") {
		t.Errorf("the manager's arguments are %q, want none about a gateway", args)
	}
}

func TestTheChartSaysWhatTheGatewayLacks(t *testing.T) {
	cases := map[string]struct {
		set  []string
		says string
	}{
		"no domain":        {[]string{"edge.enabled=true", ownTLS}, "edge.enabled needs edge.domain"},
		"no image":         {[]string{"edge.enabled=true", "edge.domain=edge.example.com", ownTLS}, "set edge.image.repository to where the image is"},
		"no certificate":   {edgeValues, "set edge.tls.secretName or edge.tls.issuerRef to a certificate for *.edge.example.com"},
		"two certificates": {slices.Concat(edgeValues, []string{ownTLS, "edge.tls.issuerRef.name=letsencrypt"}), "not both"},
		"two ways in": {
			slices.Concat(edgeValues, []string{"edge.ingress.enabled=true", "edge.gateway.enabled=true"}),
			"set edge.ingress.enabled or edge.gateway.enabled, not both",
		},
		"a route without a Gateway": {slices.Concat(edgeValues, []string{"edge.gateway.enabled=true"}), "needs edge.gateway.parentRefs"},
		"a certificate that the Gateway does not see": {
			slices.Concat(edgeValues, []string{ownTLS, "edge.gateway.enabled=true", "edge.gateway.parentRefs[0].name=public"}),
			"the certificate belongs to the Gateway's listener",
		},
		"a certificate beside a proxy that has one": {
			slices.Concat(edgeValues, []string{ownTLS, "edge.tls.terminatedElsewhere=true"}),
			"edge.tls.terminatedElsewhere is for a proxy that this chart does not set up",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := chart(t, tc.set...)
			_, err := c.Template(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("helm said %v, want %q", err, tc.says)
			}
		})
	}
}

func TestTLSEndsAtTheGatewayOrBeforeIt(t *testing.T) {
	files := []string{"--tls-certificate=/tls/tls.crt", "--tls-key=/tls/tls.key"}
	plain := []string{"--plain-http"}
	cases := map[string]struct {
		set    []string
		args   []string
		secret string
		port   int32
		beside []string
	}{
		"with a Secret that is there": {[]string{ownTLS}, files, install.GatewaySecret, 443, nil},
		"with cert-manager's": {
			[]string{"edge.tls.issuerRef.name=letsencrypt"}, files, "poolfleet-edge-tls", 443, []string{"Certificate"},
		},
		"behind an Ingress": {[]string{"edge.ingress.enabled=true"}, plain, "", 80, []string{"Ingress"}},
		"behind an Ingress with cert-manager's": {
			[]string{"edge.ingress.enabled=true", "edge.tls.issuerRef.name=letsencrypt"}, plain, "", 80, []string{"Certificate", "Ingress"},
		},
		"behind a Gateway": {
			[]string{"edge.gateway.enabled=true", "edge.gateway.parentRefs[0].name=public"}, plain, "", 80, []string{"HTTPRoute"},
		},
		"behind something else": {[]string{"edge.tls.terminatedElsewhere=true", "edge.service.port=8080"}, plain, "", 8080, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := withEdge(t, tc.set...)
			pod := gatewayOf(t, objects).Spec.Template.Spec
			if args := pod.Containers[0].Args; !contains(args, tc.args) || contains(args, plain) == contains(args, files) {
				t.Errorf("its arguments are %q, want %q of TLS", args, tc.args)
			}
			if secret := secretOf(pod); secret != tc.secret {
				t.Errorf("it has the Secret %q mounted, want %q", secret, tc.secret)
			}
			var service corev1.Service
			convert(t, only(t, objects, "Service", install.Namespace, install.Gateway), &service)
			if port := service.Spec.Ports[0].Port; port != tc.port {
				t.Errorf("the Service's port is %d, want %d", port, tc.port)
			}
			if diff := cmp.Diff(tc.beside, besides(objects)); diff != "" {
				t.Errorf("what is beside it (-want +got):\n%s", diff)
			}
		})
	}
}

func contains(all, some []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(all, one) })
}

func secretOf(pod corev1.PodSpec) string {
	if len(pod.Volumes) == 0 {
		return ""
	}
	return pod.Volumes[0].Secret.SecretName
}

// besides are the kinds that lead to a gateway or give it a certificate.
func besides(objects []unstructured.Unstructured) []string {
	var found []string
	for _, object := range objects {
		if slices.Contains([]string{"Certificate", "HTTPRoute", "Ingress"}, object.GetKind()) {
			found = append(found, object.GetKind())
		}
	}
	slices.Sort(found)
	return found
}

func TestWhatLeadsToTheGatewayServesEveryNameUnderItsDomain(t *testing.T) {
	objects := withEdge(t, "edge.ingress.enabled=true", "edge.ingress.className=public", "edge.tls.issuerRef.name=letsencrypt")
	var ingress networkingv1.Ingress
	convert(t, only(t, objects, "Ingress", install.Namespace, install.Gateway), &ingress)
	rule, backend := ingress.Spec.Rules[0], ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if rule.Host != "*.edge.example.com" || backend.Name != install.Gateway || backend.Port.Number != 80 {
		t.Errorf("the Ingress leads from %s to %v", rule.Host, backend)
	}
	want := []networkingv1.IngressTLS{{Hosts: []string{"*.edge.example.com"}, SecretName: install.GatewaySecret}}
	if diff := cmp.Diff(want, ingress.Spec.TLS); diff != "" {
		t.Errorf("the Ingress's TLS (-want +got):\n%s", diff)
	}
	certificate := only(t, objects, "Certificate", install.Namespace, install.Gateway)
	names, _, err := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
	if diff := cmp.Diff([]string{"*.edge.example.com", "edge.example.com"}, names); diff != "" || err != nil {
		t.Errorf("the certificate's names (-want +got): %v\n%s", err, diff)
	}
	objects = withEdge(t, "edge.gateway.enabled=true", "edge.gateway.parentRefs[0].name=public")
	route := only(t, objects, "HTTPRoute", install.Namespace, install.Gateway)
	hosts, _, err := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	if diff := cmp.Diff([]string{"*.edge.example.com"}, hosts); diff != "" || err != nil {
		t.Errorf("the route's names (-want +got): %v\n%s", err, diff)
	}
}

func TestManagerAndGatewayHaveOneDomainAndTheSameNamespaces(t *testing.T) {
	objects := withEdge(t, ownTLS, "watchNamespaces={shop,billing}", "edge.trustedProxies={10.0.0.0/8,fd00::/8}")
	if args := managerOf(t, objects).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--edge-domain=edge.example.com") {
		t.Errorf("the manager's arguments are %q, want the domain among them", args)
	}
	args := gatewayOf(t, objects).Spec.Template.Spec.Containers[0].Args
	want := []string{"--domain=edge.example.com", "--namespaces=shop,billing", "--trusted-proxies=10.0.0.0/8,fd00::/8"}
	if !contains(args, want) {
		t.Errorf("the gateway's arguments are %q, want %q among them", args, want)
	}
}

func TestLimitsOfTheGatewayAreItsFlags(t *testing.T) {
	args := gatewayOf(t, withEdge(t, ownTLS, "edge.limits.resultBytes=52428800", "edge.limits.webSocketIdleSeconds=600", "edge.limits.cacheBytes=1048576")).Spec.Template.Spec.Containers[0].Args
	want := []string{
		"--max-request-bytes=10485760", "--max-result-bytes=52428800", "--request-timeout=60s", "--websocket-idle-timeout=600s",
		"--caller-concurrency=1000", "--caller-rate=2000", "--caller-burst=4000",
		"--max-transaction-time=15s", "--max-transaction-wait=15s", "--max-transactions=200", "--caller-transactions=100",
		"--max-cache-bytes=1048576",
	}
	if !contains(args, want) {
		t.Errorf("its arguments are %q, want %q among them", args, want)
	}
}

func TestTheGatewayMayReadPoolsAlone(t *testing.T) {
	want := []rbacv1.PolicyRule{{
		APIGroups: []string{"poolfleet.dev"}, Resources: []string{"connectionpools"}, Verbs: []string{"get", "list", "watch"},
	}}
	for name, tc := range map[string]struct {
		set, kind  string
		namespaces []string
	}{
		"of the whole cluster":       {"logLevel=info", "ClusterRole", []string{""}},
		"of the namespaces it is in": {"watchNamespaces={shop,billing}", "Role", []string{"shop", "billing"}},
	} {
		t.Run(name, func(t *testing.T) {
			objects := withEdge(t, ownTLS, tc.set)
			for _, namespace := range tc.namespaces {
				if diff := cmp.Diff(want, rulesOf(t, objects, tc.kind, namespace, install.Gateway)); diff != "" {
					t.Errorf("rules in %q (-want +got):\n%s", namespace, diff)
				}
			}
			if bound := boundTo(t, objects, install.Gateway); len(bound) != len(tc.namespaces) || slices.ContainsFunc(bound, otherThan(install.Gateway)) {
				t.Errorf("it is given the roles %q, want its own in %q", bound, tc.namespaces)
			}
		})
	}
}

// boundTo are the names of the roles that a ServiceAccount of the operator's namespace is given.
func boundTo(t *testing.T, objects []unstructured.Unstructured, account string) []string {
	t.Helper()
	var roles []string
	for i, object := range objects {
		if !strings.HasSuffix(object.GetKind(), "RoleBinding") {
			continue
		}
		var binding rbacv1.ClusterRoleBinding
		convert(t, &objects[i], &binding)
		for _, subject := range binding.Subjects {
			if subject.Name == account && subject.Namespace == install.Namespace {
				roles = append(roles, binding.RoleRef.Name)
			}
		}
	}
	return roles
}

func otherThan(name string) func(string) bool {
	return func(other string) bool { return other != name }
}

func TestTheGatewayMeetsTheRestrictedPodSecurityStandard(t *testing.T) {
	for name, objects := range map[string][]unstructured.Unstructured{"chart": withEdge(t, ownTLS), "kustomization": kustomizedWithEdge(t)} {
		t.Run(name, func(t *testing.T) {
			pod := gatewayOf(t, objects).Spec.Template.Spec
			isRestricted(t, pod, "tls")
			if secret := secretOf(pod); secret != install.GatewaySecret || !pod.Containers[0].VolumeMounts[0].ReadOnly {
				t.Errorf("it has the Secret %q mounted, want %q for reading", secret, install.GatewaySecret)
			}
		})
	}
}

func TestManagerAndGatewayAreNotTakenForEachOther(t *testing.T) {
	for name, objects := range map[string][]unstructured.Unstructured{
		"chart": withEdge(t, ownTLS, "replicas=2"), "kustomization": kustomizedWithEdge(t),
	} {
		t.Run(name, func(t *testing.T) {
			manager, gateway := managerOf(t, objects), gatewayOf(t, objects)
			var service corev1.Service
			convert(t, only(t, objects, "Service", install.Namespace, install.Gateway), &service)
			var budget policyv1.PodDisruptionBudget
			convert(t, only(t, objects, "PodDisruptionBudget", install.Namespace, install.Gateway), &budget)
			of := map[string]map[string]string{
				"the manager's Deployment": manager.Spec.Selector.MatchLabels, "the gateway's Deployment": gateway.Spec.Selector.MatchLabels,
				"the gateway's Service": service.Spec.Selector, "the gateway's budget": budget.Spec.Selector.MatchLabels,
			}
			for what, selector := range of {
				s := labels.SelectorFromSet(selector)
				wantGateway := strings.Contains(what, "gateway")
				if m, g := s.Matches(labels.Set(manager.Spec.Template.Labels)), s.Matches(labels.Set(gateway.Spec.Template.Labels)); m == wantGateway || g != wantGateway {
					t.Errorf("%s selects manager %t, gateway %t", what, m, g)
				}
			}
		})
	}
}

func TestChartAndKustomizationInstallTheSameGateway(t *testing.T) {
	c := chart(t)
	c.Edge = &install.Edge{Domain: "edge.example.com"}
	text, err := c.Template(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fromChart, fromConfig := essence(t, parse(t, text)), essence(t, kustomizedWithEdge(t))
	delete(fromConfig, "Namespace/poolfleet-system") // Helm has a flag for it.
	for key := range fromConfig {
		if strings.HasPrefix(key, "ConfigMap/") {
			delete(fromConfig, key) // What it says is in the arguments.
		}
	}
	if diff := cmp.Diff(fromConfig, fromChart); diff != "" {
		t.Errorf("installed objects (-kustomization +chart):\n%s", diff)
	}
}

func TestReplicasOfTheGatewayFindEachOther(t *testing.T) {
	for name, objects := range map[string][]unstructured.Unstructured{"chart": withEdge(t, ownTLS), "kustomization": kustomizedWithEdge(t)} {
		t.Run(name, func(t *testing.T) {
			var service corev1.Service
			convert(t, only(t, objects, "Service", install.Namespace, install.Gateway+"-peers"), &service)
			if service.Spec.ClusterIP != corev1.ClusterIPNone || !service.Spec.PublishNotReadyAddresses {
				t.Error("the name of the peers does not resolve to every replica, those that end among them")
			}
			gateway := gatewayOf(t, objects)
			if s := labels.SelectorFromSet(service.Spec.Selector); !s.Matches(labels.Set(gateway.Spec.Template.Labels)) {
				t.Errorf("the peers are %s, which the gateway is not", s)
			}
			name := "--peers=" + service.Name + "." + service.Namespace + ".svc"
			if args := gateway.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, name) {
				t.Errorf("its arguments are %q, want %s among them", args, name)
			}
			own := func(e corev1.EnvVar) bool {
				return e.Name == "POD_IP" && e.ValueFrom.FieldRef.FieldPath == "status.podIP"
			}
			if !slices.ContainsFunc(gateway.Spec.Template.Spec.Containers[0].Env, own) {
				t.Error("a replica does not know its own address")
			}
		})
	}
}

func TestSeveralGatewaysAreNotEvictedAtOnce(t *testing.T) {
	for replicas, want := range map[string]int{"1": 0, "2": 1} {
		found := 0
		for _, object := range withEdge(t, ownTLS, "edge.replicas="+replicas) {
			if object.GetKind() == "PodDisruptionBudget" {
				found++
			}
		}
		if found != want {
			t.Errorf("there are %d budgets for %s replicas, want %d", found, replicas, want)
		}
	}
}

// kustomizedWithEdge renders config/default with the component config/edge.
func kustomizedWithEdge(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	dir, err := install.EdgeKustomization(top("config"), filepath.Join(t.TempDir(), "config"), chart(t).Images, install.Edge{Domain: "edge.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return kustomizedDir(t, dir)
}
