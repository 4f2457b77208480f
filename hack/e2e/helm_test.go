// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// story is what the parts of a test hand on to each other: one namespace with a
// server, its application role's URL, and the pool that is made of it.
type story struct {
	*world
	namespace string
	server    *server
	url       string
	pool      *poolv1.ConnectionPool
}

// TestInstalledByHelm follows one installation from its first pool to its end. The
// parts build on each other and run in this order.
func TestInstalledByHelm(t *testing.T) {
	w := connect(t)
	started := w.install(t)
	s := w.begin(t)
	t.Run("a pool becomes Ready with no write to spare", s.becomesReady)
	t.Run("an application queries through the published Secret", s.queries)
	t.Run("an application queries through the API server alone", s.queriesForwarded)
	t.Run("poolers meet the restricted pod security standard", s.restricted)
	t.Run("only the operator sets, changes or removes a grant", s.grantsAreTheOperators)
	t.Run("the budget holds under 200 clients and leaves others in", s.budgetHolds)
	t.Run("poolers are added and removed within the budget", s.scales)
	t.Run("one server under several names is one upstream", s.oneServer)
	t.Run("a name that leads to another server takes its pool along", s.repointed)
	t.Run("what a pool leaves idle serves another, and comes back", s.lends)
	t.Run("a NetworkPolicy comes and goes with the spec", s.networkPolicy)
	t.Run("the published Secret takes another name", s.renamesSecret)
	t.Run("a settled pool is not written to", s.settles)
	t.Run("bad input is named and heals once its cause is gone", s.badInput)
	t.Run("the API server refuses what no pool can be", s.refused)
	t.Run("samples are accepted", s.samples)
	t.Run("no password is told", func(t *testing.T) { w.noPasswordIsTold(t, s.namespace) })
	t.Run("deleting a pool removes what was made for it and frees its share", s.deletes)
	t.Run("the manager may do no more than it does", func(t *testing.T) { w.leastPrivilege(t, started) })
	t.Run("uninstalling leaves pools and their clients alone", s.uninstalls)
}

// begin makes what a story needs before its pool.
func (w *world) begin(t *testing.T) *story {
	t.Helper()
	s := &story{world: w, namespace: w.namespace(t)}
	// Small enough to be exhausted by a few hundred clients.
	s.server = w.startServer(t, install.Postgres{Namespace: s.namespace, Name: "postgres", Settings: []string{"max_connections=40"}})
	s.url = s.server.role(t, "shop", "")
	s.pool = aPool(s.namespace, "shop", lookingOften)
	return s
}

// uninstalls looks at what is left without the operator, and makes the pool anew
// for that.
func (s *story) uninstalls(t *testing.T) {
	pool := aPool(s.namespace, "stays", withReplicas(1))
	s.create(t, aSecret(s.namespace, "stays-db", s.url))
	s.create(t, pool)
	s.awaitReady(t, pool)
	secret := s.published(t, pool)
	if err := s.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("the operator is gone", func(t *testing.T) {
		eventually(t, "no deployment of the operator is left", func() error {
			return absent(t, s.world, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.Manager}})
		})
	})
	t.Run("the pool and the Secrets are there", func(t *testing.T) {
		s.get(t, pool)
		s.get(t, secret)
		s.get(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "stays-db"}})
	})
	t.Run("clients still connect through the pool", func(t *testing.T) {
		if _, err := s.query(t.Context(), string(secret.Data["DATABASE_URL"]), "select 1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("installed again for this namespace alone, the operator takes up where it left", func(t *testing.T) {
		s.narrowed(t, pool)
	})
	if err := s.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// narrowed installs the operator for the story's namespace, and lets it do there
// whatever is done to a pool, while it has no eyes for another one.
func (s *story) narrowed(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	elsewhere := aPool(s.world.namespace(t), "elsewhere")
	s.create(t, aSecret(elsewhere.Namespace, "elsewhere-db", s.url))
	s.create(t, elsewhere)
	chart := s.chart
	chart.Set = []string{"watchNamespaces={" + s.namespace + "}"}
	if _, err := chart.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.change(t, pool, func() { pool.Spec.Replicas = new(int32(2)) })
	eventually(t, "a second pooler is ready", func() error {
		s.get(t, pool)
		if ready := *pool.Status.ReadyReplicas; ready != 2 {
			return fmt.Errorf("%d are ready", ready)
		}
		return nil
	})
	s.awaitReady(t, pool)
	s.remove(t, pool)
	s.get(t, elsewhere)
	if len(elsewhere.Status.Conditions) > 0 {
		t.Errorf("a pool in another namespace was given a status:%s", spoken(elsewhere.Status.Conditions))
	}
	if strings.Contains(s.managerLog(t), "forbidden") {
		t.Error("the manager tried what it may not do: see its log")
	}
	s.delete(t, elsewhere)
}
