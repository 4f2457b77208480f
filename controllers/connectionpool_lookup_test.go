// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// The server is real where users are looked up: its answers are the point.
const (
	seer         = "seer"
	seerPassword = "s3cret-of-the-seer"
)

type lookupServer struct {
	*testenv.PostgresServer
	endpoint string
}

func aLookupServer(t *testing.T) lookupServer {
	t.Helper()
	server := testenv.Postgres(t, nil)
	server.Exec(t, "create role shop login password '"+upstreamPassword+"'", "create role admin login superuser password '"+upstreamPassword+"'",
		"create role "+seer+" login password '"+seerPassword+"'", "create database shop owner shop", "create database audit")
	s := lookupServer{server, fmt.Sprintf("%s:%d", server.Host, server.Port)}
	o := observed(s.endpoint, 100)
	o.RoleOID, o.RoleLimit = 16384, new(int32(1))
	servers.set(s.endpoint, answer{observation: o})
	return s
}

// run runs statements in a database as the superuser.
func (s lookupServer) run(t *testing.T, database string, statements ...string) {
	t.Helper()
	conn := s.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, database)
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatalf("running %.60q: %v", statement, err)
		}
	}
	_ = conn.Close(context.Background())
}

// looksUp makes a pool of both databases on the server, with user the upstream Secret's.
func (s lookupServer) looksUp(t *testing.T, user string, install poolv1.InstallPolicy) *poolv1.ConnectionPool {
	t.Helper()
	ns := namespace(t)
	from := url.URL{Scheme: "postgresql", Host: s.endpoint, Path: "/shop", User: url.UserPassword(user, upstreamPassword), RawQuery: "sslmode=disable"}
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-db"}, StringData: map[string]string{"DATABASE_URL": from.String()}})
	create(t, seerSecret(ns))
	pool := aPool(ns, "shop", func(p *poolv1.ConnectionPool) {
		p.Spec.Databases = []poolv1.PooledDatabase{{Name: "shop"}, {Name: "trail", Database: "audit"}}
		p.Spec.Authentication = poolv1.Authentication{
			Mode:  poolv1.AuthenticationQuery,
			Query: poolv1.UserLookup{SecretRef: poolv1.LocalSecretReference{Name: "shop-seer"}, Install: install},
		}
	})
	create(t, pool)
	return pool
}

func seerSecret(ns string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-seer"},
		StringData: map[string]string{"username": seer, "password": seerPassword + "\n"},
	}
}

// afterAWhile lets the time pass after which a pool that is not well is looked at anew.
func afterAWhile(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	hands.ahead.Add(int64(11 * time.Second))
	signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
}

// settled waits for a configuration that looks users up by a query.
func settled(t *testing.T, pool *poolv1.ConnectionPool, query string) pgbouncer.Config {
	t.Helper()
	var config pgbouncer.Config
	eventually(t, func(g gomega.Gomega) {
		config = configOf(t, pool).PgBouncer
		g.Expect(config.Lookup.Query).To(gomega.Equal(query))
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
	})
	return config
}

// blockedFor waits until the pool says that users can not be looked up, in such words.
func blockedFor(t *testing.T, pool *poolv1.ConnectionPool, words string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		c := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionConfigApplied)
		g.Expect(c).NotTo(gomega.BeNil())
		g.Expect(c.Reason).To(gomega.Equal(poolv1.ReasonLookupMissing))
		g.Expect(c.Message).To(gomega.ContainSubstring(words))
		g.Expect(c.Message).NotTo(gomega.ContainSubstring(seerPassword))
	})
}

func TestUsersAreLookedUpOnceTheFunctionIsThere(t *testing.T) {
	t.Parallel()
	server := aLookupServer(t)
	pool := server.looksUp(t, "shop", "")
	c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonLookupMissing)
	for _, words := range []string{`"audit"`, "and in 1 more", "jsonpath={.status.lookup.sql}", "-n " + pool.Namespace + " shop"} {
		if !strings.Contains(c.Message, words) {
			t.Errorf("%q does not say %q", c.Message, words)
		}
	}
	if diff := cmp.Diff([]string{"audit", "shop"}, pool.Status.Lookup.Databases); diff != "" {
		t.Error(diff)
	}
	if err := api.Get(t.Context(), key(pool, "-pool"), &appsv1.Deployment{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("there are poolers already: %v", err)
	}

	server.run(t, "shop", pool.Status.Lookup.SQL)
	afterAWhile(t, pool)
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(pool.Status.Lookup.Databases).To(gomega.Equal([]string{"audit"}))
	})
	server.run(t, "audit", pool.Status.Lookup.SQL)
	afterAWhile(t, pool)
	config := settled(t, pool, lookup.Query())
	if config.Server.User != "" || config.Server.Password != "" || len(config.Users) > 0 || config.Lookup.User != seer || config.Lookup.Password != seerPassword {
		t.Errorf("the poolers log in as %q, look up as %q, and know %v", config.Server.User, config.Lookup.User, config.Users)
	}
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(pool.Status.URLs.Pooled).NotTo(gomega.BeEmpty())
		g.Expect(pool.Status.Lookup).To(gomega.BeZero())
		g.Expect(pool.Status.Upstream.RoleConnectionLimit).To(gomega.BeNil())
	})
	var published corev1.Secret
	if err := api.Get(t.Context(), key(pool, "-pool"), &published); err != nil {
		t.Fatal(err)
	}
	for key, value := range published.Data {
		if strings.Contains(string(value), "@") || strings.Contains(string(value), upstreamPassword) || key == "username" || key == "password" {
			t.Errorf("%s names a user or holds a password", key)
		}
	}
	if strings.Contains(pool.Status.URLs.Pooled+pool.Status.URLs.Direct, "@") {
		t.Errorf("the status names a user: %+v", pool.Status.URLs)
	}
	upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Pools).To(gomega.HaveLen(1))
		g.Expect(u.Status.Pools[0].RoleOID).To(gomega.BeZero())
	})
}

func TestTheFunctionIsInstalledWhereAskedForAndAllowed(t *testing.T) {
	t.Parallel()
	server := aLookupServer(t)
	t.Run("by a superuser", func(t *testing.T) {
		settled(t, server.looksUp(t, "admin", poolv1.InstallIfMissing), lookup.Query())
	})
	t.Run("not by another, who is told what else there is", func(t *testing.T) {
		server.run(t, "audit", "drop schema poolfleet cascade")
		pool := server.looksUp(t, "shop", poolv1.InstallIfMissing)
		c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonLookupMissing)
		for _, words := range []string{"pg_authid", "authentication.mode Upstream or Generated", "status.lookup.sql"} {
			if !strings.Contains(c.Message, words) {
				t.Errorf("%q does not say %q", c.Message, words)
			}
		}
	})
}

func TestPoolersLookUsersUpAsBeforeWhileTheyCanNotOtherwise(t *testing.T) {
	t.Parallel()
	server := aLookupServer(t)
	pool := server.looksUp(t, "admin", poolv1.InstallNever)
	installation := lookup.Installation{User: seer, Owner: "admin"}.SQL()
	for _, database := range []string{"shop", "audit"} {
		server.run(t, database, installation)
	}
	afterAWhile(t, pool)
	before := settled(t, pool, lookup.Query())

	server.run(t, "shop", "drop schema poolfleet cascade")
	change(t, pool, func() { pool.Spec.Authentication.Query.Install = "" })
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonLookupMissing)
	if diff := cmp.Diff(before, settled(t, pool, lookup.Query())); diff != "" {
		t.Error("the configuration changed")
	}
	change(t, pool, func() { pool.Spec.Replicas = new(int32(3)) })
	eventually(t, func(g gomega.Gomega) {
		var d appsv1.Deployment
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &d)).To(gomega.Succeed())
		g.Expect(d.Spec.Replicas).To(gomega.HaveValue(gomega.Equal(int32(3))))
	})

	server.run(t, "shop", "create schema poolfleet authorization shop")
	afterAWhile(t, pool)
	settled(t, pool, lookup.Nobody())
	blockedFor(t, pool, "no user is let in")
	server.run(t, "shop", "drop schema poolfleet", installation)
	afterAWhile(t, pool)
	settled(t, pool, lookup.Query())
}

func TestTheUserWhoLooksUpIsToldOf(t *testing.T) {
	t.Parallel()
	server := aLookupServer(t)
	for _, database := range []string{"shop", "audit"} {
		server.run(t, database, lookup.Installation{User: seer, Owner: "admin"}.SQL())
	}
	pool := server.looksUp(t, "admin", poolv1.InstallNever)
	settled(t, pool, lookup.Query())
	secret := seerSecret(pool.Namespace)
	if err := api.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	blockedFor(t, pool, "Secret shop-seer is not in namespace "+pool.Namespace)
	secret.StringData = map[string]string{"user": seer}
	create(t, secret)
	blockedFor(t, pool, "holds no user or no password")
	change(t, secret, func() { secret.StringData = map[string]string{"password": "not-" + seerPassword} })
	blockedFor(t, pool, "refused the user or the password")
	if got := configOf(t, pool).PgBouncer.Lookup.Password; got != seerPassword {
		t.Error("poolers were told of a password that does not work")
	}
	server.Exec(t, "alter role seer password 'not-"+seerPassword+"'")
	afterAWhile(t, pool)
	eventually(t, func(g gomega.Gomega) {
		g.Expect(configOf(t, pool).PgBouncer.Lookup.Password).To(gomega.Equal("not-" + seerPassword))
	})
}
