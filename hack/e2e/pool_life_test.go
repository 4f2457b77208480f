// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/reach"
)

// install installs the chart and returns when that began.
func (w *world) install(t *testing.T) time.Time {
	t.Helper()
	started := time.Now()
	if _, err := w.chart.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	return started
}

func (s *story) becomesReady(t *testing.T) {
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.audit.quietFor(t, 2*time.Second)
	applied := time.Now()
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	t.Logf("from apply to Ready: %.1f s", time.Since(applied).Seconds())
	s.audit.quietFor(t, 3*time.Second)
	writes := s.concerning(s.audit.writesSince(t, applied))
	t.Logf("%d writes of the manager from apply until quiet:%s", len(writes), listed(writes))
	onceEach(t, writes)
}

// concerning are the requests about the story's pool and its server: other pools of
// the cluster have their own.
func (s *story) concerning(requests []request) []request {
	return slices.DeleteFunc(requests, func(r request) bool {
		return r.ObjectRef.Namespace != s.namespace && r.ObjectRef.Name != s.pool.Status.Upstream.Name
	})
}

// onceEach checks that every object was written once, and a pod's grant and its peers
// once more if the pods were seen one after the other. A status is written when there is news, how
// often depends on what happens at once; its bound is one for runaways.
func onceEach(t *testing.T, writes []request) {
	t.Helper()
	count := map[string]int{}
	for _, r := range writes {
		switch r.Status.Code {
		case http.StatusOK, http.StatusCreated:
			count[r.String()]++
		case http.StatusConflict, http.StatusUnprocessableEntity:
			t.Logf("%s came too late for what it was based on (%d), and changed nothing", r, r.Status.Code)
		default:
			t.Errorf("%s was answered with %d", r, r.Status.Code)
		}
	}
	for what, times := range count {
		allowed := 1
		switch {
		case strings.Contains(what, "/status"):
			allowed = 15
		case strings.Contains(what, " events "):
			allowed = 2
		case strings.HasPrefix(what, "patch pods "):
			allowed = 4
		}
		if times > allowed {
			t.Errorf("%s was done %d times, want at most %d", what, times, allowed)
		}
	}
}

func (s *story) queries(t *testing.T) {
	secret := s.published(t, s.pool)
	user, err := s.query(t.Context(), string(secret.Data["DATABASE_URL"]), "select current_user")
	if err != nil || user != "shop" {
		t.Errorf("through the pool the server sees %q, %v, want the role of the upstream Secret", user, err)
	}
	if _, err := s.query(t.Context(), string(secret.Data["DIRECT_URL"]), "select 1"); err != nil {
		t.Errorf("by the direct URL: %v", err)
	}
	direct := strings.Replace(s.url, "shop:", string(secret.Data["username"])+":", 1)
	if _, err := s.query(t.Context(), direct, "select 1"); err == nil {
		t.Error("the pooled user is known to the server itself")
	}
	for key, want := range map[string]string{
		"type": "postgresql", "host": "shop-pool." + s.namespace + ".svc", "port": "5432", "database": "shop",
	} {
		if got := string(secret.Data[key]); got != want {
			t.Errorf("the Secret's %s is %q, want %q", key, got, want)
		}
	}
	if secret.Type != "servicebinding.io/postgresql" {
		t.Errorf("the Secret's type is %s", secret.Type)
	}
}

func (s *story) queriesForwarded(t *testing.T) {
	dialer := reach.NewForwarding(s.client, s.config)
	if _, err := queryThrough(t.Context(), string(s.published(t, s.pool).Data["DATABASE_URL"]), "select 1", dialer.DialContext); err != nil {
		t.Error(err)
	}
}

func (s *story) restricted(t *testing.T) {
	pods := s.poolers(t, s.pool)
	if len(pods) != 2 {
		t.Errorf("%d poolers run in a namespace that enforces the standard, want 2", len(pods))
	}
	for _, pod := range pods {
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
			t.Errorf("pooler %s has a token for the API server", pod.Name)
		}
	}
}

func (s *story) scales(t *testing.T) {
	before := s.budget(t)
	for _, replicas := range []int32{4, 1, 2} {
		s.change(t, s.pool, func() { s.pool.Spec.Replicas = &replicas })
		eventually(t, fmt.Sprintf("%d poolers are ready and share the budget", replicas), func() error {
			s.get(t, s.pool)
			upstream := s.upstreamOf(t, s.pool)
			if err := withinBudget(upstream); err != nil {
				t.Error(err)
			}
			ready, granted := *s.pool.Status.ReadyReplicas, *s.pool.Status.ServerConnections.Granted
			if ready != replicas || len(upstream.Status.Ledger) != int(replicas) || granted != before {
				return fmt.Errorf("%d are ready, the ledger has %d entries, %d of %d connections are granted",
					ready, len(upstream.Status.Ledger), granted, before)
			}
			return nil
		})
	}
	s.awaitReady(t, s.pool)
}

func (s *story) budget(t *testing.T) int32 {
	t.Helper()
	return *s.upstreamOf(t, s.pool).Status.Capacity.Budget
}

// withinBudget checks the ledger's own arithmetic.
func withinBudget(upstream *poolv1.Upstream) error {
	var held int32
	for _, entry := range upstream.Status.Ledger {
		held += *entry.Held
	}
	if budget := *upstream.Status.Capacity.Budget; held > budget {
		return fmt.Errorf("pods may hold %d connections of a budget of %d", held, budget)
	}
	return nil
}

func (s *story) networkPolicy(t *testing.T) {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "shop-pool"}}
	s.change(t, s.pool, func() { s.pool.Spec.NetworkPolicy.Mode = poolv1.NetworkPolicyEnabled })
	eventually(t, "there is a NetworkPolicy", func() error {
		return s.client.Get(t.Context(), client.ObjectKeyFromObject(policy), policy)
	})
	s.change(t, s.pool, func() { s.pool.Spec.NetworkPolicy = poolv1.PoolNetworkPolicy{} })
	eventually(t, "there is none", func() error { return absent(t, s.world, policy) })
	s.awaitReady(t, s.pool)
}

// renamesSecret has a new Secret published and the old one removed.
func (s *story) renamesSecret(t *testing.T) {
	before := s.published(t, s.pool)
	s.change(t, s.pool, func() { s.pool.Spec.Secret.Name = "shop-url" })
	eventually(t, "the Secret has its new name alone", func() error {
		s.get(t, s.pool)
		if s.pool.Status.Binding.Name != "shop-url" {
			return fmt.Errorf("status.binding names %s", s.pool.Status.Binding.Name)
		}
		return absent(t, s.world, before)
	})
	s.change(t, s.pool, func() { s.pool.Spec.Secret = poolv1.PublishedSecret{} })
	s.awaitReady(t, s.pool)
}

// settles watches for a minute, in which the server is looked at several times. Before,
// the connections that nobody uses any more are closed, which the account tells.
func (s *story) settles(t *testing.T) {
	eventually(t, "idle connections have closed", func() error {
		if left := s.backendsOf(t, "shop"); left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	eventually(t, "the account says that only the look at the server is there", func() error {
		has := s.upstreamOf(t, s.pool).Status.Use.Connections
		if has == nil {
			return errors.New("it does not say yet")
		}
		if *has > 1 {
			return fmt.Errorf("it says %d", *has)
		}
		return nil
	})
	s.audit.quietFor(t, 10*time.Second)
	from := time.Now()
	time.Sleep(time.Minute)
	if writes := s.audit.writesSince(t, from); len(writes) > 0 {
		t.Errorf("in a minute in which nothing changed the manager wrote%s", listed(writes))
	}
}

func (s *story) deletes(t *testing.T) {
	upstream := s.upstreamOf(t, s.pool)
	s.remove(t, s.pool)
	eventually(t, "nothing that was made for the pool is left", func() error {
		var left []string
		for _, list := range []client.ObjectList{
			&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.SecretList{}, &corev1.ServiceAccountList{},
			&corev1.PodList{}, &policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
		} {
			found, err := s.labelled(t, list)
			if err != nil {
				return err
			}
			left = append(left, found...)
		}
		if len(left) > 0 {
			return fmt.Errorf("there are %s", strings.Join(left, ", "))
		}
		return nil
	})
	eventually(t, "its server's Upstream is gone", func() error {
		return absent(t, s.world, upstream) // It was the last pool of its server.
	})
	s.get(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "shop-db"}})
}

// labelled lists what the operator made for the pool.
func (s *story) labelled(t *testing.T, list client.ObjectList) ([]string, error) {
	t.Helper()
	labels := client.MatchingLabels{"poolfleet.dev/pool": "shop"}
	if err := s.client.List(t.Context(), list, client.InNamespace(s.namespace), labels); err != nil {
		return nil, err
	}
	objects, err := extract(list)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range objects {
		names = append(names, fmt.Sprintf("%T %s", object, object.GetName()))
	}
	return names, nil
}

// remove deletes a pool and waits until its poolers are gone and its share is free.
func (w *world) remove(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	w.get(t, pool)
	w.delete(t, pool)
	eventually(t, "the pool's poolers are gone", func() error {
		if pods := w.poolers(t, pool); len(pods) > 0 {
			return fmt.Errorf("%d are left", len(pods))
		}
		return nil
	})
}

// absent is an error while the object is there.
func absent(t *testing.T, w *world, object client.Object) error {
	t.Helper()
	err := w.client.Get(t.Context(), client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%T %s is there", object, object.GetName())
	}
	return err
}
