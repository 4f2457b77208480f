// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// TestPlan has a real API server check files. Its parts only read, so they share it.
func TestPlan(t *testing.T) {
	config := anAPIServer(t)
	s, err := newSession(config, "demo")
	if err != nil {
		t.Fatal(err)
	}
	planGround(t, s.client)
	stage := &stage{session: s}
	t.Run("outputs", func(t *testing.T) { planOutputs(t, stage) })
	t.Run("bad files", func(t *testing.T) { planBadFiles(t, stage) })
	t.Run("nothing is stored", func(t *testing.T) {
		pool := &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "new"}}
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(pool), pool); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("the planned pool: %v", err)
		}
	})
	t.Run("a cluster without Poolfleet", func(t *testing.T) {
		foreign := &rest.Config{Host: "https://127.0.0.1:1"}
		lost, err := newSession(foreign, "demo")
		if err != nil {
			t.Fatal(err)
		}
		other := aStageOf(lost)
		other.exits(t, exitUnasked, "does `kubectl version` work?", "plan", "-f", fileWith(t, aManifest))
	})
}

func aStageOf(s *session) *stage { return &stage{session: s} }

// anAPIServer starts one that has our kinds, until the test ends.
func anAPIServer(t *testing.T) *rest.Config {
	t.Helper()
	log.SetLogger(logr.Discard())
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		assets, err := filepath.Abs("../../.cache/envtest")
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("KUBEBUILDER_ASSETS", assets)
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("starting an API server from %s; make test builds what is missing there: %v", os.Getenv("KUBEBUILDER_ASSETS"), err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	return config
}

// planGround is a server of 90 for pools, two pools that share it, and a Secret that
// leads there by its address.
func planGround(t *testing.T, c client.Client) {
	t.Helper()
	server := aServer()
	server.Spec.AllowedNamespaces = []string{"demo", "a-namespace-of-many-words"}
	server.Status.Pools, server.Status.Account = nil, nil
	server.Status.Ledger = []poolv1.LedgerEntry{
		{UID: "1", Namespace: "demo", Pool: "shop", Pod: "shop-pool-1", Gen: new(int64(1)), Granted: new(int32(45)), Held: new(int32(45))},
		{UID: "2", Namespace: "demo", Pool: "crm", Pod: "crm-pool-1", Gen: new(int64(1)), Granted: new(int32(45)), Held: new(int32(45))},
	}
	for i := range server.Status.Conditions {
		server.Status.Conditions[i].LastTransitionTime = metav1.Now()
		server.Status.Conditions[i].Message = "said"
	}
	stored := []client.Object{
		server, aPoolNamed("demo", "shop", onServer(45, 45)), aPoolNamed("demo", "crm", onServer(45, 45)),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "new-db"}, StringData: map[string]string{"DATABASE_URL": "postgresql://new:word@DB.example.com/new"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "new-db"}, StringData: map[string]string{"DATABASE_URL": "postgresql://new:word@db.example.com/new"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "far-db"}, StringData: map[string]string{"DATABASE_URL": "postgresql://new:word@far.example.com:6000/new"}},
	}
	for _, namespace := range []string{"demo", "other"} {
		create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	for _, object := range stored {
		create(t, c, object)
	}
}

// create stores an object with its status.
func create(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	said, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("%T is no object", object)
	}
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	switch object.(type) {
	case *poolv1.ConnectionPool, *poolv1.Upstream:
		said.SetResourceVersion(object.GetResourceVersion())
		if err := c.Status().Update(t.Context(), said); err != nil {
			t.Fatal(err)
		}
	}
}

const aManifest = `apiVersion: poolfleet.dev/v1alpha1
kind: ConnectionPool
metadata:
  name: new
spec:
  upstream:
    secretRef:
      name: new-db
  replicas: 2
  databases:
    - name: a
    - name: b
  serverConnections:
    minimum: 20
`

func fileWith(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func replaced(old, by string) string { return strings.Replace(aManifest, old, by, 1) }

func planOutputs(t *testing.T, s *stage) {
	t.Helper()
	shop := "---\n" + replaced("name: new", "name: shop")
	shop = strings.Replace(shop, "name: new-db", "name: shop-db", 1)
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"plan-new":         {aManifest, exitFine},
		"plan-two":         {"# pools\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: x}\n---\n" + aManifest + shop, exitFine},
		"plan-too-much":    {replaced("minimum: 20", "minimum: 91"), exitWrong},
		"plan-few":         {replaced("replicas: 2", "replicas: 40"), exitFine},
		"plan-not-allowed": {replaced("name: new", "name: new\n  namespace: other"), exitWrong},
		"plan-moves":       {strings.Replace(replaced("name: new", "name: shop"), "new-db", "far-db", 1), exitFine},
		"plan-unknown":     {replaced("new-db", "nosuch"), exitFine},
		"plan-declared":    {replaced("  replicas", "    maxConnections: 30\n  replicas") + "", exitFine},
		"plan-far":         {strings.Replace(replaced("new-db", "far-db"), "  replicas", "    maxConnections: 10\n  replicas", 1), exitWrong},
	} {
		t.Run(name, func(t *testing.T) {
			if code := s.run(t, "plan", "-f", fileWith(t, c.text)); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, s.err.String())
			}
			golden(t, name, s.out.String()+"---\n"+s.err.String())
		})
	}
	s.run(t, "plan", "-o", "json", "-f", fileWith(t, aManifest))
	goldenData(t, "plan-json", s.out.String())
}

func planBadFiles(t *testing.T, s *stage) {
	t.Helper()
	for name, c := range map[string]struct {
		text, words string
		code        int
	}{
		"no YAML":                       {"a: b: c", "pools.yaml: yaml: mapping values are not allowed", exitUsage},
		"an unknown field":              {replaced("minimum", "least"), `pools.yaml:14: unknown field "spec.serverConnections.least"`, exitUsage},
		"a text for a number":           {replaced("replicas: 2", "replicas: two"), "pools.yaml:9: spec.replicas is string and must be a whole number", exitUsage},
		"a 0 that is none":              {replaced("minimum: 20", "minimum: 0"), "pools.yaml:14: spec.serverConnections.minimum: Invalid value: 0", exitUsage},
		"a number out of its bounds":    {replaced("replicas: 2", "replicas: 300"), "pools.yaml:9: spec.replicas: Invalid value: 300", exitUsage},
		"an item of a list":             {replaced("name: b", "name: pgbouncer"), "pools.yaml:12: spec.databases[1].name: Invalid value", exitUsage},
		"a rule of the whole object":    {replaced("name: new", "name: 1new"), "must start with a letter", exitUsage},
		"two faults in two pools":       {replaced("minimum", "least") + "---\n" + replaced("replicas", "replica"), `pools.yaml:24: unknown field "spec.replica"`, exitUsage},
		"no name":                       {replaced("name: new\n", "labels: {}\n"), "pools.yaml:3: metadata.name is missing", exitUsage},
		"another version":               {replaced("v1alpha1", "v9"), "pools.yaml:1: poolfleet.dev/v9 is not known: use poolfleet.dev/v1alpha1", exitUsage},
		"the same pool twice":           {aManifest + "---\n" + aManifest, "pools.yaml:19: demo/new stands in the file twice", exitUsage},
		"a namespace that there is not": {replaced("name: new", "name: new\n  namespace: nosuch"), "namespace nosuch does not exist", exitWrong},
		"nothing":                       {"", "holds no ConnectionPool", exitUsage},
		"keys that are no text":         {replaced("replicas: 2", "? [a]\n  : 2"), "pools.yaml:", exitUsage},
	} {
		t.Run(name, func(t *testing.T) { s.exits(t, c.code, c.words, "plan", "-f", fileWith(t, c.text)) })
	}
}

func TestAPoolThatIsHiddenCountsWithItsAccount(t *testing.T) {
	server := aServer()
	visible := aPoolNamed("demo", "shop", onServer(45, 46))
	changed := visible.DeepCopy()
	changed.Spec.ServerConnections.Maximum = 10
	plans := []planned{{before: visible, after: changed, server: server.Name}}
	made := grounds(plans, []poolv1.ConnectionPool{*visible}, map[string]*poolv1.Upstream{server.Name: server}, true)
	if len(made) != 1 {
		t.Fatalf("%d servers, want 1", len(made))
	}
	got := made[0].divide()
	var lines []string
	for _, p := range got.Pools {
		lines = append(lines, p.fullName()+" "+p.Change+" "+whole(p.Before)+" "+whole(p.After))
	}
	want := []string{
		"a-namespace-of-many-words/a-pool-whose-name-is-as-long-as-names-may-be-in-here none 15 20",
		"demo/orders none 60 60", "demo/shop changed 15 10",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
	if len(got.Problems) != 0 {
		t.Errorf("it fits, and these are its problems: %q", got.Problems)
	}
}
