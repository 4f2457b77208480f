// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestInstalledByKustomize needs no Helm. It leaves the definitions, as pools of
// others may be there.
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
	w.remove(t, s.pool)
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.tools.Run(t.Context(), "", w.tools.Kubectl, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}
