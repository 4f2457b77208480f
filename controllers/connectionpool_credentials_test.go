// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
)

// withPods gives a pool two pods that run what they are told, waits until it is
// settled, and returns one of them.
func withPods(t *testing.T, pool *poolv1.ConnectionPool) *corev1.Pod {
	t.Helper()
	a, b := podOf(t, pool, pool.Name+"-a"), podOf(t, pool, pool.Name+"-b")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	return b
}

// publishedBy waits until the published Secret satisfies the check.
func publishedBy(t *testing.T, pool *poolv1.ConnectionPool, check func(gomega.Gomega, map[string]string)) map[string]string {
	t.Helper()
	var data map[string]string
	eventually(t, func(g gomega.Gomega) {
		var secret corev1.Secret
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &secret)).To(gomega.Succeed())
		data = map[string]string{}
		for name, value := range secret.Data {
			data[name] = string(value)
		}
		check(g, data)
	})
	return data
}

// users are those that the poolers let in, by name.
func users(t *testing.T, pool *poolv1.ConnectionPool) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, user := range configOf(t, pool).PgBouncer.Users {
		all[user.Name] = user.Password
	}
	return all
}

func letsIn(t *testing.T, pool *poolv1.ConnectionPool, names ...string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(slices.Collect(maps.Keys(users(t, pool)))).To(gomega.ConsistOf(names))
	})
}

func rotate(t *testing.T, pool *poolv1.ConnectionPool, asked string) {
	t.Helper()
	change(t, pool, func() {
		if pool.Annotations == nil {
			pool.Annotations = map[string]string{}
		}
		pool.Annotations[poolv1.RotateAnnotation] = asked
	})
}

// later lets time pass for a pool.
func later(t *testing.T, pool *poolv1.ConnectionPool, d time.Duration) {
	t.Helper()
	hands.ahead.Add(int64(d))
	signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
}

// statusSays waits until the status lists credentials by these names, the published
// one first, and whether they end.
func statusSays(t *testing.T, pool *poolv1.ConnectionPool, names []string, end []bool) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		var gotNames []string
		var gotEnd []bool
		for _, c := range pool.Status.Credentials {
			gotNames, gotEnd = append(gotNames, c.Username), append(gotEnd, c.ExpiresAt != nil)
		}
		g.Expect(gotNames).To(gomega.Equal(names))
		g.Expect(gotEnd).To(gomega.Equal(end))
	})
}

// tellsNot fails if the pool's status or an event of its namespace holds one of the secrets.
func tellsNot(t *testing.T, pool *poolv1.ConnectionPool, secrets ...string) {
	t.Helper()
	var events eventsv1.EventList
	if err := api.List(t.Context(), &events, client.InNamespace(pool.Namespace)); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool); err != nil {
		t.Fatal(err)
	}
	said, err := json.Marshal([]any{pool, events})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if secret == "" || strings.Contains(string(said), secret) {
			t.Error("a password stands in the status or an event")
		}
	}
}

func eventTold(t *testing.T, pool *poolv1.ConnectionPool, reason string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		var events eventsv1.EventList
		g.Expect(api.List(t.Context(), &events, client.InNamespace(pool.Namespace))).To(gomega.Succeed())
		g.Expect(slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Reason == reason })).To(gomega.BeTrue(), reason)
	})
}

func isNew(old map[string]string) func(gomega.Gomega, map[string]string) {
	return func(g gomega.Gomega, data map[string]string) {
		g.Expect(data["username"]).NotTo(gomega.Equal(old["username"]))
		g.Expect(data["password"]).NotTo(gomega.Equal(old["password"]))
	}
}

// apiKey is the key that Accelerate's clients are given. It is to be of the credential
// beside it.
func apiKey(t *testing.T, data map[string]string) string {
	t.Helper()
	_, text, _ := strings.Cut(data["ACCELERATE_URL"], "?api_key=")
	key, err := apikey.Parse(text)
	if err != nil || key.User != data["username"] || key.Password != data["password"] {
		t.Errorf("the API key has other credentials than the keys beside it: %v", err)
	}
	return text
}

func TestCredentialsAreRotatedWithoutAMomentInWhichNoneWorks(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100), atEdge(""))
	slow := withPods(t, pool)
	old := publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data["username"]).To(gomega.Equal("app")) })
	if secret := users(t, pool)["app"]; !strings.HasPrefix(secret, "SCRAM-SHA-256$4096:") {
		t.Error("the poolers are told a password in plain text")
	}
	before := pool.Status.ConfigRevision
	pods.setSaid(slow, func(s *contract.Status) { s.Config = before })

	rotate(t, pool, "now")
	eventually(t, func(g gomega.Gomega) { g.Expect(users(t, pool)).To(gomega.HaveLen(2)) })
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonReloading)
	quietFor(t)
	publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(old)) })

	pods.setSaid(slow, nil)
	fresh := publishedBy(t, pool, isNew(old))
	letsIn(t, pool, "app", fresh["username"])
	statusSays(t, pool, []string{fresh["username"], "app"}, []bool{false, true})
	if got := pool.Status.Credentials[1].ExpiresAt.Sub(hands.Now()); got < 23*time.Hour || got > 24*time.Hour {
		t.Errorf("the old credential ends in %v, want a day", got)
	}
	eventTold(t, pool, poolv1.EventRotated)
	tellsNot(t, pool, old["password"], fresh["password"], apiKey(t, old), apiKey(t, fresh))
	if read, err := url.Parse(fresh["DATABASE_URL"]); err != nil || read.User.String() != fresh["username"]+":"+fresh["password"] {
		t.Error("the URL has other credentials than the keys beside it")
	}

	quietFor(t)
	settled := writes.all()
	rotate(t, pool, "now")
	signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
	quietFor(t)
	if diff := cmp.Diff(settled, writes.all()); diff != "" {
		t.Errorf("a request that was met before was written about:\n%s", diff)
	}
	later(t, pool, 25*time.Hour)
	letsIn(t, pool, fresh["username"])
	statusSays(t, pool, []string{fresh["username"]}, []bool{false})
}

func TestCredentialsAreRotatedByAge(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100), func(p *poolv1.ConnectionPool) {
		p.Spec.Authentication.Rotation = poolv1.CredentialRotation{MaxAgeDays: new(int32(30)), OverlapSeconds: new(int32(0))}
	})
	withPods(t, pool)
	old := publishedBy(t, pool, func(gomega.Gomega, map[string]string) {})
	later(t, pool, 30*24*time.Hour)
	fresh := publishedBy(t, pool, isNew(old))
	letsIn(t, pool, fresh["username"])
}

func TestRotationsInARowWaitForTheOldestToExpire(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100))
	withPods(t, pool)
	last := publishedBy(t, pool, func(gomega.Gomega, map[string]string) {})
	for _, asked := range []string{"2", "3", "4", "5"} {
		rotate(t, pool, asked)
		last = publishedBy(t, pool, isNew(last))
	}
	rotate(t, pool, "6")
	eventTold(t, pool, poolv1.EventRotationWaits)
	if n := len(users(t, pool)); n != 5 {
		t.Errorf("%d credentials work, want 5", n)
	}
	change(t, pool, func() { pool.Spec.Authentication.Rotation.OverlapSeconds = new(int32(0)) })
	fresh := publishedBy(t, pool, isNew(last))
	letsIn(t, pool, fresh["username"])
}

func TestThePublishedSecretIsRepairedInTheMiddleOfARotation(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100), atEdge(""))
	slow := withPods(t, pool)
	old := publishedBy(t, pool, func(gomega.Gomega, map[string]string) {})
	before := pool.Status.ConfigRevision
	pods.setSaid(slow, func(s *contract.Status) { s.Config = before })
	rotate(t, pool, "now")
	eventually(t, func(g gomega.Gomega) { g.Expect(users(t, pool)).To(gomega.HaveLen(2)) })

	spoil := func() {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name + "-pool"}}
		change(t, secret, func() { secret.Data["password"], secret.Data["username"] = []byte("by hand"), []byte("mallory") })
	}
	spoil()
	publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(old)) })
	pods.setSaid(slow, nil)
	fresh := publishedBy(t, pool, isNew(old))
	spoil()
	publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(fresh)) })
	letsIn(t, pool, "app", fresh["username"])
}

func TestALostOrDamagedSecretOfThePoolersLocksNobodyOut(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100))
	withPods(t, pool)
	first := publishedBy(t, pool, func(gomega.Gomega, map[string]string) {})
	rotate(t, pool, "now")
	fresh := publishedBy(t, pool, isNew(first))
	statusSays(t, pool, []string{fresh["username"], "app"}, []bool{false, true})
	same := func(what string) {
		t.Helper()
		quietFor(t)
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(fresh), what) })
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name + "-pooler"}}
	before := users(t, pool)

	change(t, secret, func() { secret.Data["credentials.json"] = []byte(`{"credentials":[{"username":`) })
	same("damaged credentials")
	if diff := cmp.Diff(before, users(t, pool)); diff != "" {
		t.Error("poolers let others in after the credentials were damaged")
	}
	change(t, secret, func() { secret.Data = nil })
	same("an emptied Secret")
	letsIn(t, pool, fresh["username"])
	if err := api.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	letsIn(t, pool, fresh["username"])
	same("a deleted Secret")
}

func TestClientsLogInAsTheServersUser(t *testing.T) {
	ns, host := namespace(t), server(t, 100)
	pool := serve(t, ns, "shop", host, func(p *poolv1.ConnectionPool) { p.Spec.Authentication.Mode = poolv1.AuthenticationUpstream })
	withPods(t, pool)
	old := publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) {
		g.Expect(data["username"] + ":" + data["password"]).To(gomega.Equal("shop:" + upstreamPassword))
	})
	secret := users(t, pool)["shop"]
	if !strings.HasPrefix(secret, "SCRAM-SHA-256$") {
		t.Error("the poolers are told clients' password in plain text")
	}
	source := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-db"}}

	t.Run("what is emptied while in use leaves the last good in place", func(t *testing.T) {
		change(t, source, func() { source.Data = nil })
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonKeyMissing)
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(old)) })
		if users(t, pool)["shop"] != secret {
			t.Error("the poolers were told another password")
		}
	})
	t.Run("a new password takes the place of the old one", func(t *testing.T) {
		change(t, source, func() {
			source.StringData = map[string]string{"DATABASE_URL": "postgresql://shop:changed@" + host + "/shop?sslmode=require"}
		})
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data["password"]).To(gomega.Equal("changed")) })
		if now := users(t, pool); len(now) != 1 || now["shop"] == secret {
			t.Error("the poolers do not know the new password alone")
		}
	})
	t.Run("without a password there is nothing to log in with", func(t *testing.T) {
		change(t, source, func() {
			source.StringData = map[string]string{"DATABASE_URL": "postgresql://shop@" + host + "/shop?sslmode=require"}
		})
		says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonRejected)
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data["password"]).To(gomega.Equal("changed")) })
	})
	tellsNot(t, pool, upstreamPassword)
}

func TestTheModeIsSwitchedToAndFroWithoutANewPod(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100))
	withPods(t, pool)
	old := publishedBy(t, pool, func(gomega.Gomega, map[string]string) {})
	var before, after appsv1.Deployment
	if err := api.Get(t.Context(), key(pool, "-pool"), &before); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		change(t, pool, func() { pool.Spec.Authentication.Mode = poolv1.AuthenticationUpstream })
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data["username"]).To(gomega.Equal("shop")) })
		letsIn(t, pool, "app", "shop")
		statusSays(t, pool, []string{"app"}, []bool{true})
		change(t, pool, func() { pool.Spec.Authentication.Mode = poolv1.AuthenticationGenerated })
		publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) { g.Expect(data).To(gomega.Equal(old)) })
		letsIn(t, pool, "app", "shop")
		statusSays(t, pool, []string{"app"}, []bool{false})
	}
	quietFor(t)
	later(t, pool, 25*time.Hour)
	letsIn(t, pool, "app")
	if err := api.Get(t.Context(), key(pool, "-pool"), &after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Spec.Template, after.Spec.Template); diff != "" {
		t.Errorf("the pods were replaced:\n%s", diff)
	}
}

func TestAPoolWithANameOutsideTheClusterPublishesItsURL(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100), func(p *poolv1.ConnectionPool) { p.Spec.Service.ExternalHostname = "db.example.com" })
	data := publishedBy(t, pool, func(g gomega.Gomega, data map[string]string) {
		g.Expect(data["EXTERNAL_URL"]).To(gomega.ContainSubstring("@db.example.com:5432/shop"))
	})
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(pool.Status.URLs.External).To(gomega.HavePrefix("postgresql://app@db.example.com:5432/shop"))
	})
	tellsNot(t, pool, data["password"])
}
