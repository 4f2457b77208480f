// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// gitManager is the field manager that Argo CD applies with.
const gitManager = "argocd-controller"

// inGit is what a repository has of a pool. It says enough of the spec that a field
// which anyone writes in another form, or fills in, shows.
const inGit = `
apiVersion: v1
kind: Secret
metadata: {name: %[1]s-db, namespace: %[2]s}
data: {DATABASE_URL: %[3]s}
---
apiVersion: poolfleet.dev/v1alpha1
kind: ConnectionPool
metadata:
  name: %[1]s
  namespace: %[2]s
  labels: {team: shop}
spec:
  upstream:
    secretRef: {name: %[1]s-db}
    probeIntervalSeconds: 10
  serverConnections: {weight: 200, maximum: 12}
  pod:
    resources:
      requests: {cpu: "0.05", memory: 64Mi}
`

// scaler asks for more poolers than the pool has. It can do that before it has seen
// anything of what they use.
const scaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  scaleTargetRef: {apiVersion: poolfleet.dev/v1alpha1, kind: ConnectionPool, name: %[1]s}
  minReplicas: 3
  maxReplicas: 4
`

// serverSide applies and compares as Argo CD does with ServerSideApply=true, and Flux
// always; clientSide as Argo CD does without.
var (
	serverSide = []string{"--server-side", "--field-manager=" + gitManager}
	clientSide = []string{"--server-side=false"}
)

// scalers are the field managers of the autoscaler and of `kubectl scale`.
var scalers = []string{"kube-controller-manager", "kubectl"}

// TestGitOps applies what a repository has, lets it settle, and finds nothing to apply.
func TestGitOps(t *testing.T) {
	w := connect(t)
	w.install(t)
	s := w.begin(t)
	t.Run("a release with other definitions is upgraded by Helm", s.helmUpgrades)
	t.Run("the chart itself applied server-side", w.chartSettles)
	t.Run("a pool applied server-side", func(t *testing.T) { s.inSync(t, "server-side", gitManager, serverSide) })
	t.Run("a pool applied by the client", func(t *testing.T) { s.inSync(t, "client-side", "kubectl-client-side-apply", clientSide) })
	t.Run("the administrator's word on a server", s.upstreamInSync)
	if err := w.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The definitions stay, and to Argo CD they belong: whoever installs another version
	// after this test would be refused.
	w.kubectl(t, "patch", "customresourcedefinitions", "connectionpools.poolfleet.dev", "upstreams.poolfleet.dev",
		"--type=json", "--patch", `[{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]`)
}

// chartSettles applies the rendered chart over what Helm has installed, as Argo CD does
// where it takes a release over, with a definition that an older release left.
func (w *world) chartSettles(t *testing.T) {
	text, err := w.chart.Template(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-f", written(t, text), "--force-conflicts"}, serverSide...)
	// As Helm 4 applies, so that Helm still can.
	w.kubectl(t, "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", written(t, w.olderDefinition(t, text)))
	if said := w.diff(t, args...); !strings.Contains(said, "additionalPrinterColumns") {
		t.Errorf("a definition of an older release differs in nothing but:\n%s", said)
	}
	w.kubectl(t, append([]string{"apply"}, args...)...)
	w.audit.quietFor(t, 2*time.Second)
	w.noDiff(t, args...)
	w.install(t)
	w.noDiff(t, args...)
}

// olderDefinition is the chart's of an Upstream without its columns, with Helm's marks.
func (w *world) olderDefinition(t *testing.T, chart string) string {
	t.Helper()
	for _, object := range parse(t, chart) {
		if object.GetName() != "upstreams.poolfleet.dev" {
			continue
		}
		installed := object.DeepCopy()
		w.get(t, installed)
		object.SetLabels(installed.GetLabels())
		object.SetAnnotations(installed.GetAnnotations())
		versions, _, err := unstructured.NestedSlice(object.Object, "spec", "versions")
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range versions {
			if fields, ok := version.(map[string]any); ok {
				unstructured.RemoveNestedField(fields, "additionalPrinterColumns")
			}
		}
		if err := unstructured.SetNestedSlice(object.Object, versions, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatal("the chart has no definition of Upstreams")
	return ""
}

// inSync applies a pool and compares it, also after an autoscaler has taken replicas
// over, and after it was applied once more.
func (s *story) inSync(t *testing.T, name, applier string, how []string) {
	t.Helper()
	url := s.server.role(t, strings.ReplaceAll(name, "-", "_"), "")
	file := written(t, fmt.Sprintf(inGit, name, s.namespace, base64.StdEncoding.EncodeToString([]byte(url))))
	args := append([]string{"-f", file}, how...)
	apply := append([]string{"apply"}, args...)
	s.kubectl(t, apply...)
	pool := aPool(s.namespace, name)
	s.awaitReady(t, pool)
	s.audit.quietFor(t, 3*time.Second)
	s.noDiff(t, args...)
	s.specOwners(t, pool, applier)

	if err := s.tools.KubectlApply(t.Context(), fmt.Sprintf(scaler, name, s.namespace)); err != nil {
		t.Fatal(err)
	}
	s.awaitPoolers(t, pool, 3)
	s.noDiff(t, args...)
	s.specOwners(t, pool, applier, scalers...)
	s.kubectl(t, apply...)
	if s.get(t, pool); *pool.Spec.Replicas != 3 {
		t.Errorf("applying the pool once more made it %d replicas of the autoscaler's 3", *pool.Spec.Replicas)
	}
	if generation := pool.Generation; generation != 2 {
		t.Errorf("the spec has changed %d times, want the one by the autoscaler", generation-1)
	}
	s.kubectl(t, "delete", "horizontalpodautoscaler", name, "--namespace", s.namespace)
	s.kubectl(t, "scale", "connectionpools.poolfleet.dev", name, "--replicas=1", "--namespace", s.namespace)
	s.awaitPoolers(t, pool, 1)
	s.noDiff(t, args...)
	s.specOwners(t, pool, applier, scalers...)
	s.remove(t, pool)
}

// upstreamInSync applies the spec of an Upstream that the operator has made.
func (s *story) upstreamInSync(t *testing.T) {
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	name := s.pool.Status.Upstream.Name
	file := written(t, fmt.Sprintf("apiVersion: poolfleet.dev/v1alpha1\nkind: Upstream\nmetadata: {name: %s}\nspec: {directConnections: 10%%}\n", name))
	args := append([]string{"-f", file}, serverSide...)
	s.kubectl(t, append([]string{"apply"}, args...)...)
	eventually(t, "the account is of the new spec", func() error {
		if direct := s.upstreamOf(t, s.pool).Status.Capacity.Direct; direct == nil || *direct != 4 {
			return fmt.Errorf("it leaves %v to others", direct)
		}
		return nil
	})
	s.audit.quietFor(t, 3*time.Second)
	s.noDiff(t, args...)
	if owners := ownersOfSpec(t, s.upstreamOf(t, s.pool).ManagedFields); !slices.Equal(owners, []string{gitManager}) {
		t.Errorf("the Upstream's spec belongs to %v", owners)
	}
	upstream := s.upstreamOf(t, s.pool)
	s.remove(t, s.pool)
	s.delete(t, upstream) // With a spec it stays when its last pool has gone.
	eventually(t, "the Upstream is gone", func() error { return absent(t, s.world, upstream) })
}

// noDiff fails where kubectl, and so Argo CD, would find something to apply.
func (w *world) noDiff(t *testing.T, args ...string) {
	t.Helper()
	if said := w.diff(t, args...); said != "" {
		t.Errorf("what is applied and what is there differ:\n%s", said)
	}
}

// diff is what kubectl finds to apply; it masks passwords. Its exit code is 1 for a
// difference, and more where it fails. Source: `kubectl diff --help`.
func (w *world) diff(t *testing.T, args ...string) string {
	t.Helper()
	script := `"$0" diff "$@" || (($? == 1))`
	said, err := w.tools.Run(t.Context(), "", "bash", append([]string{"-c", script, w.tools.Kubectl}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func written(t *testing.T, manifests string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *story) awaitPoolers(t *testing.T, pool *poolv1.ConnectionPool, replicas int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d poolers are ready", replicas), func() error {
		s.get(t, pool)
		if ready := deref(pool.Status.ReadyReplicas); *pool.Spec.Replicas != replicas || ready != replicas {
			return fmt.Errorf("%d of %d are ready%s", ready, *pool.Spec.Replicas, s.scalerSays(t, pool))
		}
		return nil
	})
	s.awaitReady(t, pool)
	s.audit.quietFor(t, 3*time.Second)
}

func (s *story) scalerSays(t *testing.T, pool *poolv1.ConnectionPool) string {
	t.Helper()
	scaler := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name}}
	if absent(t, s.world, scaler) == nil {
		return ""
	}
	return fmt.Sprintf(", the autoscaler wants %d: %v", scaler.Status.DesiredReplicas, scaler.Status.Conditions)
}

// specOwners checks that a spec belongs to whom applied it and at most to the others
// who were asked to change it: never to the operator.
func (s *story) specOwners(t *testing.T, pool *poolv1.ConnectionPool, applier string, others ...string) {
	t.Helper()
	s.get(t, pool)
	owners := ownersOfSpec(t, pool.ManagedFields)
	if !slices.Contains(owners, applier) {
		t.Errorf("the spec belongs to %v, which is not %s", owners, applier)
	}
	for _, owner := range owners {
		if owner != applier && !slices.Contains(others, owner) {
			t.Errorf("of the spec, something belongs to %s", owner)
		}
	}
}

// ownersOfSpec are the field managers that own anything in a spec.
func ownersOfSpec(t *testing.T, entries []metav1.ManagedFieldsEntry) []string {
	t.Helper()
	var owners []string
	for _, entry := range entries {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		if _, owns := fields["f:spec"]; owns && !slices.Contains(owners, entry.Manager) {
			owners = append(owners, entry.Manager)
		}
	}
	return owners
}
