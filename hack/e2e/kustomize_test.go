// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestInstalledByKustomize needs no Helm until the chart takes over. It comes last,
// and leaves the cluster without the operator, its definitions and any pool.
func TestInstalledByKustomize(t *testing.T) {
	w := connect(t)
	dir := t.TempDir()
	if err := install.Kustomization(top("config"), dir, w.chart.Images); err != nil {
		t.Fatal(err)
	}
	w.kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(dir, "default"))
	w.kubectl(t, "rollout", "status", "deployment/"+install.Manager, "--namespace", install.Namespace, "--timeout", "2m")
	s := w.begin(t)
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	if _, err := w.query(t.Context(), string(s.published(t, s.pool).Data["DATABASE_URL"]), "select 1"); err != nil {
		t.Error(err)
	}
	t.Run("the policy holds for its operator, too", s.grantsAreTheOperators)
	t.Run("a chart takes over what the kustomization installed", func(t *testing.T) {
		chart := w.chart
		chart.Flags = []string{"--take-ownership", "--force-conflicts"}
		if _, err := chart.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.awaitReady(t, s.pool)
	})
	t.Run("without pools, the operator can be removed to the last trace", w.clear)
}

// clear removes every pool of the cluster, and then everything of the operator.
func (w *world) clear(t *testing.T) {
	var pools poolv1.ConnectionPoolList
	if err := w.client.List(t.Context(), &pools); err != nil {
		t.Fatal(err)
	}
	for i := range pools.Items {
		w.delete(t, &pools.Items[i])
	}
	eventually(t, "no Upstream is left", func() error {
		var upstreams poolv1.UpstreamList
		err := w.client.List(t.Context(), &upstreams)
		if err == nil && len(upstreams.Items) > 0 {
			err = fmt.Errorf("there are %d, the first is %s", len(upstreams.Items), upstreams.Items[0].Name)
		}
		return err
	})
	if err := w.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.kubectl(t, "delete", "customresourcedefinitions", "connectionpools.poolfleet.dev", "upstreams.poolfleet.dev", "--timeout", "1m")
	w.kubectl(t, "delete", "namespace", install.Namespace, "--timeout", "1m")
	left := w.kubectl(t, "get", "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings",
		"--selector", "app.kubernetes.io/part-of=poolfleet", "--output", "name")
	if left != "" {
		t.Errorf("there is left %s", left)
	}
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.tools.Run(t.Context(), "", w.tools.Kubectl, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}
