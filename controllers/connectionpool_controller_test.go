// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

func key(pool *poolv1.ConnectionPool, suffix string) types.NamespacedName {
	return types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name + suffix}
}

func TestPoolPublishesURLs(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "shop", server(t, 100))
	var secret corev1.Secret
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &secret)).To(gomega.Succeed())
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(pool.Status.URLs.Pooled).NotTo(gomega.BeEmpty())
	})

	t.Run("the Secret has the pooled URL with credentials of its own", func(t *testing.T) {
		pooled := string(secret.Data["DATABASE_URL"])
		if !strings.Contains(pooled, "shop-pool."+ns+".svc") || strings.Contains(pooled, upstreamPassword) {
			t.Error("DATABASE_URL does not lead to the pool, or carries the server's password")
		}
		if !strings.Contains(string(secret.Data["DIRECT_URL"]), upstreamPassword) {
			t.Error("DIRECT_URL does not carry the server's password")
		}
	})
	t.Run("the status has both URLs without passwords", func(t *testing.T) {
		data, password := pool.Status.URLs, string(secret.Data["password"])
		for _, url := range []string{data.Pooled, data.Direct} {
			if strings.Contains(url, password) || strings.Contains(url, upstreamPassword) {
				t.Errorf("a password stands in the status: %s", url)
			}
		}
		if pool.Status.Binding.Name != secret.Name {
			t.Errorf("binding = %q, want %q", pool.Status.Binding.Name, secret.Name)
		}
	})
	t.Run("the credential stays when the pool changes", func(t *testing.T) {
		change(t, pool, func() { pool.Spec.Parameters = []poolv1.Parameter{{Name: "server_idle_timeout", Value: "60"}} })
		before := pool.Status.ConfigRevision
		eventually(t, func(g gomega.Gomega) {
			g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
			g.Expect(pool.Status.ConfigRevision).NotTo(gomega.Equal(before))
		})
		var after corev1.Secret
		if err := api.Get(t.Context(), key(pool, "-pool"), &after); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(secret.Data, after.Data); diff != "" {
			t.Error("the published Secret changed")
		}
	})
}

func TestPoolersAreBoundedByTheBudget(t *testing.T) {
	pool := serve(t, namespace(t), "wide", server(t, 10), func(p *poolv1.ConnectionPool) { p.Spec.Replicas = new(int32(9)) })
	// 10 - 3 for superusers - 3 for others leaves 4.
	says(t, pool, poolv1.ConditionBudgetGranted, metav1.ConditionFalse, poolv1.ReasonInsufficientBudget)
	var d appsv1.Deployment
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &d)).To(gomega.Succeed())
		g.Expect(*d.Spec.Replicas).To(gomega.Equal(int32(4)))
	})
}

func TestServerProblemsAreSaidAndHeal(t *testing.T) {
	for _, reason := range []postgres.Reason{
		postgres.HostUnknown, postgres.Unreachable, postgres.AuthenticationFailed, postgres.DatabaseMissing, postgres.TLSFailed,
	} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			host := server(t, 100)
			servers.set(host+":5432", answer{err: &postgres.Error{Reason: reason, Message: "what to do about it"}})
			pool := serve(t, namespace(t), "ill", host)
			c := says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, string(reason))
			if c.Message != "What to do about it" {
				t.Errorf("message = %q", c.Message)
			}
			servers.set(host+":5432", answer{observation: observed(host, 100)})
			says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
		})
	}
}

func TestSecretProblemsAreSaidAndHeal(t *testing.T) {
	ns, host := namespace(t), server(t, 100)
	pool := aPool(ns, "shop")
	create(t, pool)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonSecretMissing)

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-db"}, StringData: map[string]string{"nothing": "here"}}
	create(t, secret)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonKeyMissing)

	set := func(value string) {
		t.Helper()
		secret.StringData = map[string]string{"DATABASE_URL": value}
		if err := api.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
	set("postgres//" + upstreamPassword)
	if c := says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonInvalidURL); strings.Contains(c.Message, upstreamPassword) {
		t.Error("the message quotes the Secret")
	}
	set("postgresql://shop:" + upstreamPassword + "@" + host + "/shop")
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
}

func TestPoolersServeOnWhileTheSecretIsBroken(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "shop", server(t, 100))
	var before corev1.Secret
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), key(pool, "-pooler"), &before)).To(gomega.Succeed())
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-db"}}
	if err := api.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonSecretMissing)
	broken := server(t, 100)
	servers.set(broken+":5432", answer{err: &postgres.Error{Reason: postgres.AuthenticationFailed, Message: "wrong password"}})
	secretFor(t, ns, "shop-db", broken)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, poolv1.ReasonAuthenticationFailed)
	var after corev1.Secret
	if err := api.Get(t.Context(), key(pool, "-pooler"), &after); err != nil {
		t.Fatal(err)
	}
	if before.ResourceVersion != after.ResourceVersion {
		t.Error("the configuration of running poolers was changed to one that never worked")
	}
}

func TestAnotherPoolerInBetweenIsRefusedUnlessDeclared(t *testing.T) {
	host := server(t, 100)
	o := observed(host, 100)
	o.BackendPIDMatches = false
	servers.set(host+":5432", answer{observation: o})
	pool := serve(t, namespace(t), "twice", host)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonAlreadyPooled)

	change(t, pool, func() { pool.Spec.Upstream.MaxConnections = 20 })
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonDeclared)
	u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Capacity.Budget).To(gomega.HaveValue(gomega.Equal(int32(20))))
	})
	if reason := reasonOf(u.Status.Conditions, poolv1.ConditionAdmissionActive); reason != poolv1.ReasonBehindPooler {
		t.Errorf("AdmissionActive has reason %s", reason)
	}
	if c := configOf(t, pool); c.PgBouncer.ConnectQuery != "" {
		t.Error("connections would count themselves in at another pooler")
	}
}

func configOf(t *testing.T, pool *poolv1.ConnectionPool) contract.Document {
	t.Helper()
	var secret corev1.Secret
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), key(pool, "-pooler"), &secret)).To(gomega.Succeed())
	})
	document, err := contract.DecodeDocument(secret.Data[contract.ConfigKey])
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func reasonOf(conditions []metav1.Condition, kind string) string {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Reason
		}
	}
	return ""
}

func TestAnothersObjectIsNeverTakenOver(t *testing.T) {
	ns := namespace(t)
	theirs := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-pool"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	create(t, theirs)
	pool := serve(t, ns, "shop", server(t, 100))
	c := says(t, pool, poolv1.ConditionPoolersAvailable, metav1.ConditionFalse, poolv1.ReasonNameConflict)
	if !strings.Contains(c.Message, "shop-pool") {
		t.Errorf("the message does not name the object: %s", c.Message)
	}
	var after corev1.Service
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(theirs), &after); err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != theirs.ResourceVersion {
		t.Error("another's Service was changed")
	}
}

func TestAParameterThatWouldBreakTheBudgetIsRefused(t *testing.T) {
	pool := serve(t, namespace(t), "greedy", server(t, 100), func(p *poolv1.ConnectionPool) {
		p.Spec.Parameters = []poolv1.Parameter{{Name: "default_pool_size", Value: "1000"}}
	})
	c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonRejected)
	if !strings.Contains(c.Message, "default_pool_size") {
		t.Errorf("the message does not name the parameter: %s", c.Message)
	}
}

func TestASettledPoolIsLeftAlone(t *testing.T) {
	pool := serve(t, namespace(t), "calm", server(t, 100))
	a, b := podOf(t, pool, "calm-a"), podOf(t, pool, "calm-b")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Granted).To(gomega.HaveValue(gomega.Equal(int32(92))))
	})
	quietFor(t)
	before := writes.all()
	for range 20 {
		signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		signals.Upstream(t.Context(), u.Name)
		time.Sleep(20 * time.Millisecond)
	}
	quietFor(t)
	if diff := cmp.Diff(before, writes.all()); diff != "" {
		t.Errorf("reconciling a settled pool wrote:\n%s", diff)
	}
}

// quietFor waits until nothing was written for a second.
func quietFor(t *testing.T) {
	t.Helper()
	for last, since := len(writes.all()), time.Now(); time.Since(since) < time.Second; time.Sleep(50 * time.Millisecond) {
		if n := len(writes.all()); n != last {
			last, since = n, time.Now()
		}
		if t.Context().Err() != nil {
			t.Fatal("writes never end")
		}
	}
}

func TestAServerThatSleepsWhenIdleIsNotKeptAwake(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "sleepy", host, func(p *poolv1.ConnectionPool) { p.Spec.Upstream.Probe = poolv1.ProbeWhenInUse })
	pod := podOf(t, pool, "sleepy-a")
	grantOf(t, pod, 92)
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	pods.setIdle(pod, true)
	quietFor(t)
	before := servers.looksAt(host)
	pass := func() {
		hands.ahead.Add(int64(time.Hour))
		signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		time.Sleep(100 * time.Millisecond)
		quietFor(t)
	}
	pass()
	if after := servers.looksAt(host); after != before {
		t.Errorf("an idle server was looked at %d times", after-before)
	}
	pods.setIdle(pod, false)
	pass()
	if after := servers.looksAt(host); after == before {
		t.Error("a server in use was not looked at")
	}
}
