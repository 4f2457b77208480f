// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

const aDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestTheChartRefusesValuesItDoesNotKnow(t *testing.T) {
	cases := map[string]struct{ value, says string }{
		"an unknown value":            {"replicaCount=2", "replicaCount"},
		"an unknown part of an image": {"image.name=manager", "name"},
		"half a digest":               {"image.digest=sha256:0123", "/image/digest"},
		"a tag in the repository":     {"image.repository=registry.example.com/manager:v1", "/image/repository"},
		"an impossible namespace":     {"watchNamespaces={Shop_1}", "/watchNamespaces/0"},
		"a host in place of a CIDR":   {"allowedUpstreamCIDRs={db.example.com}", "/allowedUpstreamCIDRs/0"},
		"an unknown log level":        {"logLevel=trace", "/logLevel"},
		"a URL in place of a domain":  {"edge.domain=https://edge.example.com", "/edge/domain"},
		"an unknown part of TLS":      {"edge.tls.caFile=ca.crt", "caFile"},
		"an unknown kind of Service":  {"edge.service.type=ExternalName", "/edge/service/type"},
		"a route to nothing by name":  {"edge.gateway.parentRefs[0].namespace=gateways", "/edge/gateway/parentRefs/0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := chart(t, tc.value).Template(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("helm said %v, want a refusal that names %q", err, tc.says)
			}
		})
	}
}

func TestTheChartSaysWhichImageIsMissing(t *testing.T) {
	c := chart(t)
	c.Images.Pooler = install.Image{}
	_, err := c.Template(t.Context())
	if want := "set poolerImage.repository to where the image is"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("helm said %v, want %q", err, want)
	}
}

func TestTheChartNamesImagesByDigest(t *testing.T) {
	manager := managerOf(t, rendered(t)).Spec.Template.Spec.Containers[0]
	if want := "registry.example.com:5000/poolfleet/manager@" + aDigest; manager.Image != want {
		t.Errorf("the manager's image is %s, want %s", manager.Image, want)
	}
	if want := "--pooler-image=registry.example.com:5000/poolfleet/pooler@" + aDigest; !slices.Contains(manager.Args, want) {
		t.Errorf("the manager's arguments are %q, want %s among them", manager.Args, want)
	}
}

func TestTheManagerMeetsTheRestrictedPodSecurityStandard(t *testing.T) {
	for name, objects := range map[string][]unstructured.Unstructured{"chart": rendered(t), "kustomization": kustomized(t)} {
		t.Run(name, func(t *testing.T) {
			isRestricted(t, managerOf(t, objects).Spec.Template.Spec)
		})
	}
}

// isRestricted holds a pod with volumes of these names to the standard, and to a file
// system that it can not write.
func isRestricted(t *testing.T, pod corev1.PodSpec, volumes ...string) {
	t.Helper()
	container := pod.Containers[0]
	var names []string
	for _, volume := range pod.Volumes {
		names = append(names, volume.Name)
	}
	got := map[string]any{
		"containers": len(pod.Containers), "nonRoot": *pod.SecurityContext.RunAsNonRoot,
		"seccomp": pod.SecurityContext.SeccompProfile.Type, "escalation": *container.SecurityContext.AllowPrivilegeEscalation,
		"readOnly": *container.SecurityContext.ReadOnlyRootFilesystem, "drop": container.SecurityContext.Capabilities.Drop,
		"add": len(container.SecurityContext.Capabilities.Add), "hostNetwork": pod.HostNetwork, "volumes": names,
	}
	want := map[string]any{
		"containers": 1, "nonRoot": true, "seccomp": corev1.SeccompProfileTypeRuntimeDefault, "escalation": false,
		"readOnly": true, "drop": []corev1.Capability{"ALL"}, "add": 0, "hostNetwork": false, "volumes": volumes,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the pod (-want +got):\n%s", diff)
	}
}

func TestChartAndKustomizationInstallTheSame(t *testing.T) {
	fromChart, fromConfig := essence(t, rendered(t)), essence(t, kustomized(t))
	delete(fromConfig, "Namespace/poolfleet-system") // Helm has a flag for it.
	if diff := cmp.Diff(fromConfig, fromChart); diff != "" {
		t.Errorf("installed objects (-kustomization +chart):\n%s", diff)
	}
}

func TestUninstallingTheChartKeepsTheDefinitionsAndSoThePools(t *testing.T) {
	kept := 0
	for _, object := range rendered(t) {
		if object.GetKind() == "CustomResourceDefinition" && object.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d definitions are kept, want ConnectionPool's and Upstream's", kept)
	}
}

func TestWatchedNamespacesAreAllTheManagerMayTouch(t *testing.T) {
	everywhere, narrowed := rendered(t), rendered(t, "watchNamespaces={shop,billing}")
	clusterWide := rulesOf(t, narrowed, "ClusterRole", "", install.Manager)
	for _, rule := range clusterWide {
		for _, resource := range rule.Resources {
			if !strings.HasPrefix(resource, "upstreams") {
				t.Errorf("the manager may %v %s in every namespace", rule.Verbs, resource)
			}
		}
	}
	all := permissions(rulesOf(t, everywhere, "ClusterRole", "", install.Manager))
	for _, namespace := range []string{"shop", "billing"} {
		got := permissions(slices.Concat(clusterWide, rulesOf(t, narrowed, "Role", namespace, install.Manager)))
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("permissions in %s (-all +narrowed):\n%s", namespace, diff)
		}
	}
	if args := managerOf(t, narrowed).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--watch-namespaces=shop,billing") {
		t.Errorf("the manager's arguments are %q, want the namespaces among them", args)
	}
}

func TestOfItsOwnNamespaceTheNarrowedManagerMayTouchItsAuthorityAlone(t *testing.T) {
	rules := rulesOf(t, rendered(t, "watchNamespaces={shop}"), "Role", install.Namespace, "poolfleet-authority")
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"poolfleet-ca"}, Verbs: []string{"get", "list", "watch", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	for _, object := range slices.Concat(rendered(t), rendered(t, "watchNamespaces={"+install.Namespace+"}")) {
		if object.GetName() == "poolfleet-authority" {
			t.Errorf("%s poolfleet-authority is there beside permissions for every Secret of the namespace", object.GetKind())
		}
	}
}

func TestAPolicyOfWatchedNamespacesLeavesOthersToOtherOperators(t *testing.T) {
	binding := only(t, rendered(t, "watchNamespaces={shop}"), "ValidatingAdmissionPolicyBinding", "", "poolfleet-grants")
	got, _, err := unstructured.NestedSlice(binding.Object, "spec", "matchResources", "namespaceSelector", "matchExpressions")
	want := []any{map[string]any{"key": "kubernetes.io/metadata.name", "operator": "In", "values": []any{"shop"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("namespaces of the policy (-want +got): %v\n%s", err, diff)
	}
}

func TestSeveralManagersAreNotEvictedAtOnce(t *testing.T) {
	count := func(objects []unstructured.Unstructured) (found int) {
		for _, object := range objects {
			if object.GetKind() == "PodDisruptionBudget" {
				found++
			}
		}
		return found
	}
	if one, two := count(rendered(t)), count(rendered(t, "replicas=2")); one != 0 || two != 1 {
		t.Errorf("budgets: %d for one replica and %d for two, want 0 and 1", one, two)
	}
}

func TestSamplesAreASecretAndAPoolThatNamesIt(t *testing.T) {
	files, err := filepath.Glob(top("config/samples/*.yaml"))
	if err != nil || len(files) != 10 {
		t.Fatalf("found %d files (%v), want nine samples and their kustomization", len(files), err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name == "kustomization.yaml" || name == "upstream.yaml" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(string(text), "\n---\n")
			var secret corev1.Secret
			var pool poolv1.ConnectionPool
			for i, into := range []any{&secret, &pool} {
				if err := yaml.UnmarshalStrict([]byte(parts[i]), into); err != nil {
					t.Fatal(err)
				}
			}
			if len(parts) != 2 || pool.Spec.Upstream.SecretRef.Name != secret.Name {
				t.Errorf("%d objects, the pool names secret %q and the secret is %q", len(parts), pool.Spec.Upstream.SecretRef.Name, secret.Name)
			}
			if !strings.Contains(string(text), "not-a-real-password") {
				t.Error("no password that is plainly none")
			}
		})
	}
}

// managerOf returns the operator's Deployment.
func managerOf(t *testing.T, objects []unstructured.Unstructured) appsv1.Deployment {
	t.Helper()
	var deployment appsv1.Deployment
	convert(t, only(t, objects, "Deployment", install.Namespace, install.Manager), &deployment)
	return deployment
}

func rulesOf(t *testing.T, objects []unstructured.Unstructured, kind, namespace, name string) []rbacv1.PolicyRule {
	t.Helper()
	var role rbacv1.ClusterRole
	convert(t, only(t, objects, kind, namespace, name), &role)
	return role.Rules
}
