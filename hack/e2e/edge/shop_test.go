// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

const (
	// domain is the gateway's; it is known to the Worker alone.
	domain = "edge.test"
	// elsewhere leads to the pool and to the gateway, and is in no certificate of theirs.
	elsewhere = "elsewhere.test"
	// guess is nobody's password.
	guess = "not-the-password"
)

// schema is that of the Worker's models.
const schema = `
create table things (
	id text primary key, tags text[], numbers int[], doc jsonb, bytes bytea, big bigint,
	amount numeric, day date, at timestamptz(3), nothing text);
create table accounts (id text primary key, balance int not null)`

// The server has far fewer connections than requests come at once, and the pool has a
// share of them that no loan of another pool's makes larger.
const (
	maxConnections = 60
	share          = 20
)

// The Worker's bindings: each is a way to the database, or one that leads nowhere.
const (
	plain         = "PLAIN"
	verified      = "VERIFIED"
	hyperdrive    = "HYPERDRIVE"
	hyperdriveTLS = "HYPERDRIVE_TLS"
	gateway       = "EDGE"
	direct        = "DIRECT"
)

// shop is an application: its server, its pool with the gateway before it, and its
// Worker.
type shop struct {
	*cluster
	namespace string
	server    *install.Postgres
	pool      *poolv1.ConnectionPool
	worker    *worker
	// authority is what the gateway's certificate comes from, in PEM.
	authority string
}

// open makes all that there is but the Worker.
func open(t *testing.T, c *cluster, authority string) *shop {
	t.Helper()
	s := &shop{cluster: c, namespace: c.namespace(t), authority: authority}
	s.server = &install.Postgres{
		Namespace: s.namespace, Name: "postgres", Image: c.images.Postgres.Reference,
		Settings: []string{fmt.Sprintf("max_connections=%d", maxConnections)},
	}
	if err := s.server.Apply(t.Context(), c.client, c.tools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "PostgreSQL answers", func() error { return c.run(t.Context(), s.server.AdminURL(), "select 1") })
	url := s.database(t)
	s.pool = s.addPool(t, "shop", url, share, poolv1.EdgeEnabled)
	s.addPool(t, "private", url, 1, poolv1.EdgeDisabled)
	return s
}

// database makes the application's role and its tables, and returns its URL.
func (s *shop) database(t *testing.T) string {
	t.Helper()
	password := rand.Text()
	for _, statement := range []string{
		fmt.Sprintf("create role shop login password '%s'", password),
		"create database shop owner shop",
	} {
		if err := s.run(t.Context(), s.server.AdminURL(), statement); err != nil {
			t.Fatal(err)
		}
	}
	url := s.server.URL("shop", password, "shop")
	if err := s.run(t.Context(), url, schema); err != nil {
		t.Fatalf("making the tables: %v", err)
	}
	return url
}

// addPool makes a pool of at most so many server connections, and returns it when
// clients can connect.
func (s *shop) addPool(t *testing.T, name, url string, connections int32, mode poolv1.EdgeMode) *poolv1.ConnectionPool {
	t.Helper()
	s.create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name + "-db"},
		StringData: map[string]string{"DATABASE_URL": url},
	})
	pool := &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	pool.Spec.Upstream.SecretRef.Name = name + "-db"
	pool.Spec.Replicas, pool.Spec.ServerConnections.Maximum = new(connections/10+1), connections
	pool.Spec.Edge.Mode = mode
	s.create(t, pool)
	eventually(t, "pool "+name+" is Ready", func() error {
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(pool), pool); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, poolv1.ConditionReady) {
			return fmt.Errorf("it says %+v", pool.Status.Conditions)
		}
		if mode == poolv1.EdgeEnabled && pool.Status.URLs.Edge == "" {
			return fmt.Errorf("it has no URL for workers and says %+v", pool.Status.Conditions)
		}
		return nil
	})
	return pool
}

// published is what the pool's Secret has under a key.
func (s *shop) published(t *testing.T, key string) string {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.pool.Status.Binding.Name}}
	s.get(t, secret)
	if len(secret.Data[key]) == 0 {
		t.Fatalf("the published Secret has nothing under %s", key)
	}
	return string(secret.Data[key])
}

// startWorker gives the Worker the published URLs as they are, and names that lead to
// the Services' addresses.
func (s *shop) startWorker(t *testing.T) {
	t.Helper()
	pooled, edge := s.published(t, "DATABASE_URL"), s.published(t, "EDGE_URL")
	tls := with(t, pooled, sslmode("verify-full"))
	private := "private-" + s.namespace + "." + domain
	around := surroundings{
		Hosts: s.hosts(t, private), Authorities: s.authority + s.published(t, "ca.crt"),
		Bindings: map[string]string{
			plain: with(t, pooled, sslmode("disable")), verified: tls, gateway: edge, direct: s.published(t, "DIRECT_URL"),
			wrongPassword: with(t, tls, badPassword), wrongPasswordEdge: with(t, edge, badPassword),
			unknownPool: with(t, edge, hostname("nosuch."+domain)), privatePool: with(t, edge, hostname(private)),
			stranger: with(t, tls, hostname(elsewhere+":5432")), strangerEdge: with(t, edge, hostname("shop."+elsewhere)),
		},
	}
	around.Hyperdrives = map[string]string{
		hyperdrive: around.Bindings[plain], hyperdriveTLS: tls, hyperdriveStranger: around.Bindings[stranger],
	}
	s.worker = startWorker(t, around)
}

// hosts are the names that the Worker knows.
func (s *shop) hosts(t *testing.T, private string) map[string]string {
	t.Helper()
	host := s.published(t, "host")
	pooled, edge := s.addressOf(t, s.namespace, strings.Split(host, ".")[0]), s.addressOf(t, install.Namespace, install.Gateway)
	return map[string]string{
		host: pooled, elsewhere: pooled, s.server.Host(): s.addressOf(t, s.namespace, s.server.Name),
		"api." + domain: edge, s.pool.Status.Edge.Host: edge, "nosuch." + domain: edge, private: edge,
		"api." + elsewhere: edge, "shop." + elsewhere: edge,
	}
}

// with returns a URL with a part changed.
func with(t *testing.T, text string, edit func(*url.URL)) string {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil || parsed.User == nil {
		t.Fatal("a published URL is malformed")
	}
	edit(parsed)
	return parsed.String()
}

func sslmode(mode string) func(*url.URL) {
	return func(u *url.URL) { u.RawQuery = url.Values{"sslmode": {mode}}.Encode() }
}

func hostname(name string) func(*url.URL) { return func(u *url.URL) { u.Host = name } }

func badPassword(u *url.URL) { u.User = url.UserPassword(u.User.Username(), guess) }
