// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// oneServer has pools name the story's server in other ways: by its address, by
// its Service's full name, and by the same name in another Secret.
func (s *story) oneServer(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.server.Name}}
	s.get(t, service)
	pools := []*poolv1.ConnectionPool{
		s.nameServer(t, "by-address", service.Spec.ClusterIP),
		s.nameServer(t, "by-full-name", s.server.Host()+".cluster.local"),
		s.nameServer(t, "by-second-secret", s.server.Host()),
	}
	for _, pool := range pools {
		s.awaitReady(t, pool)
	}
	s.get(t, s.pool)
	home := s.pool.Status.Upstream.Name
	for _, pool := range pools {
		if pool.Status.Upstream.Name != home {
			t.Errorf("pool %s is on Upstream %s, want that of pool %s, %s", pool.Name, pool.Status.Upstream.Name, s.pool.Name, home)
		}
	}
	want := []string{service.Spec.ClusterIP + ":5432", s.server.Host() + ":5432", s.server.Host() + ".cluster.local:5432"}
	eventually(t, "the server's addresses are listed and its budget is shared", func() error {
		return s.shares(t, want, len(pools)+1)
	})
	for _, pool := range pools {
		if _, err := s.query(t.Context(), string(s.published(t, pool).Data["DATABASE_URL"]), "select 1"); err != nil {
			t.Errorf("through pool %s: %v", pool.Name, err)
		}
		s.remove(t, pool)
	}
}

// nameServer makes a pool, and a Secret that names the story's server by a host.
func (s *story) nameServer(t *testing.T, name, host string, edits ...func(*poolv1.ConnectionPoolSpec)) *poolv1.ConnectionPool {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal("the server's URL is malformed")
	}
	u.Host = host + ":5432"
	s.create(t, aSecret(s.namespace, name+"-db", u.String()))
	pool := aPool(s.namespace, name, append(edits, withReplicas(1))...)
	s.create(t, pool)
	return pool
}

// shares says what is wrong with the account of a server that so many pools name
// by these addresses.
func (s *story) shares(t *testing.T, addresses []string, pools int) error {
	t.Helper()
	u := s.upstreamOf(t, s.pool)
	var seen []string
	for _, e := range u.Status.Endpoints {
		seen = append(seen, e.Address)
	}
	slices.Sort(seen)
	slices.Sort(addresses)
	var sum, held int32
	for _, p := range u.Status.Pools {
		sum, held = sum+*p.Entitled, held+*p.Held
	}
	switch budget := *u.Status.Capacity.Budget; {
	case !slices.Equal(seen, addresses):
		return fmt.Errorf("it is listed under %v, want %v", seen, addresses)
	case len(u.Status.Pools) != pools:
		return fmt.Errorf("%d pools are in its account, want %d", len(u.Status.Pools), pools)
	case sum != budget || held > budget:
		return fmt.Errorf("pools are entitled to %d and hold %d of a budget of %d", sum, held, budget)
	}
	return nil
}

// repointed has a Service lead to another server: the pool that names it moves
// there, and nobody else does.
func (s *story) repointed(t *testing.T) {
	second := s.startServer(t, install.Postgres{Namespace: s.namespace, Name: "second", Settings: []string{"max_connections=30"}})
	second.run(t, fmt.Sprintf("create role shop login password '%s'", passwordOf(t, s.url)))
	second.run(t, "create database shop owner shop")
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "database"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": s.server.Name}, Ports: []corev1.ServicePort{{Port: 5432}}},
	}
	s.create(t, service)
	pool := s.nameServer(t, "follows", "database."+s.namespace+".svc", lookingOften)
	s.awaitReady(t, pool)
	home := s.upstreamOf(t, s.pool)
	if pool.Status.Upstream.Name != home.Name {
		t.Fatalf("the pool is on Upstream %s, not %s", pool.Status.Upstream.Name, home.Name)
	}
	url := string(s.published(t, pool).Data["DATABASE_URL"])

	s.change(t, service, func() { service.Spec.Selector["app"] = second.Name })
	eventually(t, "the pool is on an Upstream of the second server", func() error {
		s.get(t, pool)
		if u := s.upstreamOf(t, pool); u.Name == home.Name || u.Status.Capacity.MaxConnections == nil || *u.Status.Capacity.MaxConnections != 30 {
			return fmt.Errorf("it is on %s", u.Name)
		}
		return nil
	})
	eventually(t, "its clients are served by the second server, by new poolers alone", func() error {
		limit, err := s.query(t.Context(), url, "show max_connections")
		if err != nil || limit != "30" {
			return fmt.Errorf("a client sees %q, %w", limit, err)
		}
		if pods := s.poolers(t, pool); len(pods) != 1 {
			return fmt.Errorf("there are %d poolers", len(pods))
		}
		return nil
	})
	s.get(t, s.pool)
	after := s.upstreamOf(t, s.pool)
	if after.UID != home.UID || strings.Contains(fmt.Sprint(after.Status.Endpoints), service.Name+".") {
		t.Errorf("the pool that stayed is on Upstream %s with endpoints %v", after.Name, after.Status.Endpoints)
	}
	s.remove(t, pool)
}
