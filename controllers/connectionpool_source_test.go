// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// serving is a pool with two poolers that serve, each with its grant.
func serving(t *testing.T, host string, changes ...func(*poolv1.ConnectionPool)) (*poolv1.ConnectionPool, []*corev1.Pod) {
	t.Helper()
	pool := serve(t, namespace(t), "shop", host, changes...)
	a, b := podOf(t, pool, "shop-a"), podOf(t, pool, "shop-b")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	deploymentOf(t, pool, 2, 2)
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	return pool, []*corev1.Pod{a, b}
}

func setURL(t *testing.T, pool *poolv1.ConnectionPool, url string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name + "-db"}}
	change(t, secret, func() { secret.Data = map[string][]byte{"DATABASE_URL": []byte(url)} })
}

func serverIn(t *testing.T, pool *poolv1.ConnectionPool) pgbouncer.Server {
	t.Helper()
	return configOf(t, pool).PgBouncer.Server
}

func warned(t *testing.T, pool *poolv1.ConnectionPool, reason string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		var events eventsv1.EventList
		g.Expect(api.List(t.Context(), &events, client.InNamespace(pool.Namespace))).To(gomega.Succeed())
		g.Expect(slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Reason == reason && e.Type == corev1.EventTypeWarning && e.Regarding.Name == pool.Name
		})).To(gomega.BeTrue(), reason)
	})
}

const nextPassword = "the-next-one"

func TestAPasswordThatTheDatabaseDoesNotKnowYetIsTakenUpOnceItDoes(t *testing.T) {
	host := server(t, 100)
	servers.accept(host, upstreamPassword)
	pool, pods := serving(t, host)
	setURL(t, pool, "postgresql://shop:"+nextPassword+"@"+host+"/shop?sslmode=require")
	c := says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonAuthenticationFailed)
	if !strings.Contains(c.Message, "until then poolers keep") {
		t.Errorf("the condition does not say what poolers do: %s", c.Message)
	}
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	warned(t, pool, poolv1.ReasonAuthenticationFailed)

	change(t, pool, func() { pool.Spec.Clients.IdleTimeoutSeconds = new(int32(77)) })
	eventually(t, func(g gomega.Gomega) {
		config := configOf(t, pool).PgBouncer
		g.Expect(config.ClientIdleTimeoutSeconds).To(gomega.Equal(int32(77)), "a change beside it waits for the password")
		g.Expect(config.Server.Password).To(gomega.Equal(upstreamPassword))
	})

	servers.accept(host, nextPassword)
	changed := time.Now()
	eventually(t, func(g gomega.Gomega) { g.Expect(serverIn(t, pool).Password).To(gomega.Equal(nextPassword)) })
	t.Logf("the document has the password %v after the database", time.Since(changed))
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
	grantOf(t, pods[0], 46)
}

func TestAPasswordThatTheDatabaseKnowsAlreadyIsTakenUpAtOnce(t *testing.T) {
	host := server(t, 100)
	servers.accept(host, upstreamPassword)
	pool, pods := serving(t, host)
	servers.accept(host, nextPassword)
	lookLater(t, pool)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonAuthenticationFailed)
	if got := serverIn(t, pool).Password; got != upstreamPassword {
		t.Errorf("the document has the password %q", got)
	}
	setURL(t, pool, "postgresql://shop:"+nextPassword+"@"+host+"/shop?sslmode=require")
	eventually(t, func(g gomega.Gomega) { g.Expect(serverIn(t, pool).Password).To(gomega.Equal(nextPassword)) })
	says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
	grantOf(t, pods[1], 46)
}

func TestASecretThatBreaksInUseCostsNothing(t *testing.T) {
	host := server(t, 100)
	pool, pods := serving(t, host)
	before := serverIn(t, pool)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: "shop-db"}}
	replicas := int32(2)
	for _, breaks := range []struct {
		reason string
		does   func()
	}{
		{poolv1.ReasonKeyMissing, func() { change(t, secret, func() { secret.Data = nil }) }},
		{poolv1.ReasonInvalidURL, func() { setURL(t, pool, "postgresql://shop:x@a b/shop") }},
		{poolv1.ReasonSecretMissing, func() {
			if err := api.Delete(t.Context(), secret); err != nil {
				t.Error(err)
			}
		}},
	} {
		breaks.does()
		says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, breaks.reason)
		says(t, pool, poolv1.ConditionReady, metav1.ConditionTrue, poolv1.ReasonAvailable)
		replicas++
		change(t, pool, func() { pool.Spec.Replicas = new(replicas) })
		deploymentOf(t, pool, replicas, replicas)
		lookLater(t, pool)
		if got := serverIn(t, pool); got != before {
			t.Errorf("%s changed the server in the document to %v", breaks.reason, got)
		}
		grantOf(t, pods[0], 46)
	}
	secretFor(t, pool.Namespace, "shop-db", host)
	says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
}

func TestWhatTheTLSOfAnUpstreamNamesIsReadAndWatched(t *testing.T) {
	host, ours, other := server(t, 100), testenv.NewCertificate(t, "a.example.com"), testenv.NewCertificate(t, "b.example.com")
	pool := serve(t, namespace(t), "shop", host, func(p *poolv1.ConnectionPool) {
		p.Spec.Upstream.TLS.CASecretRef.Name = "authority"
		p.Spec.Upstream.TLS.ClientCertSecretRef.Name = "client"
	})
	observed := func(reason string, words string) {
		t.Helper()
		c := says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, reason)
		eventually(t, func(g gomega.Gomega) {
			c = says(t, pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, reason)
			g.Expect(c.Message).To(gomega.ContainSubstring(words))
		})
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: pool.Namespace, Name: name} }
	observed(poolv1.ReasonSecretMissing, "Secret authority is not in")
	authority := &corev1.Secret{ObjectMeta: meta("authority"), Data: map[string][]byte{"other": ours.CA}}
	create(t, authority)
	observed(poolv1.ReasonKeyMissing, "no key ca.crt")
	change(t, authority, func() { authority.Data = map[string][]byte{"ca.crt": ours.CA} })
	observed(poolv1.ReasonSecretMissing, "Secret client is not in")
	pair := &corev1.Secret{ObjectMeta: meta("client"), Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": ours.Certificate, "tls.key": other.Key}}
	create(t, pair)
	observed(poolv1.ReasonTLSFailed, "do not belong together")
	change(t, pair, func() { pair.Data["tls.key"] = ours.Key })
	eventually(t, func(g gomega.Gomega) {
		s := serverIn(t, pool)
		g.Expect([]string{s.TLSMode, s.CA, s.Certificate, s.Key}).To(gomega.Equal(
			[]string{"verify-full", string(ours.CA), string(ours.Certificate), string(ours.Key)}))
	})
	change(t, authority, func() { authority.Data["ca.crt"] = []byte("garbage") })
	observed(poolv1.ReasonTLSFailed, "no certificate in PEM")
	if s := serverIn(t, pool); s.CA != string(ours.CA) {
		t.Error("garbage took the place of the authority in use")
	}
	change(t, authority, func() { authority.Data["ca.crt"] = other.CA })
	eventually(t, func(g gomega.Gomega) { g.Expect(serverIn(t, pool).CA).To(gomega.Equal(string(other.CA))) })
}
