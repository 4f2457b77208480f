// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// limitOfReplicas is where the chart's definition says how many poolers there may be.
var limitOfReplicas = regexp.MustCompile(`(?m)^( {14}replicas:\n(?: {16}.*\n)*? {16}maximum: )256$`)

// helmUpgrades goes from a chart whose definition refuses what today's allows to
// today's, with a pool there that is served all the while.
func (s *story) helmUpgrades(t *testing.T) {
	pool := aPool(s.namespace, "upgraded", withReplicas(1))
	s.create(t, aSecret(s.namespace, "upgraded-db", s.server.role(t, "upgraded", "")))
	s.create(t, pool)
	s.awaitReady(t, pool)
	four := func() error {
		return s.client.Create(t.Context(), aPool(s.namespace, "wide", withReplicas(4)), client.DryRunAll)
	}
	if _, err := s.olderChart(t).Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the older definition is in force", func() error {
		if err := four(); !apierrors.IsInvalid(err) {
			return fmt.Errorf("a pool that it does not allow: %w", err)
		}
		return nil
	})
	s.install(t)
	eventually(t, "the definition is today's", four)
	s.change(t, pool, func() { pool.Spec.Replicas = new(int32(4)) })
	s.awaitPoolers(t, pool, 4)
	s.remove(t, pool)
}

// olderChart is the chart with a definition that allows no more than three poolers.
func (w *world) olderChart(t *testing.T) install.Chart {
	t.Helper()
	older := w.chart
	// Definitions outlive their release: another test may have applied these by kubectl.
	older.Dir, older.Flags = t.TempDir(), []string{"--force-conflicts"}
	if err := os.CopyFS(older.Dir, os.DirFS(w.chart.Dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(older.Dir, "templates", "crd-connectionpools.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !limitOfReplicas.Match(text) {
		t.Fatal("the definition has no limit of spec.replicas that could be made lower")
	}
	if err := os.WriteFile(path, limitOfReplicas.ReplaceAll(text, []byte("${1}3")), 0o600); err != nil {
		t.Fatal(err)
	}
	return older
}
