// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"crypto/rand"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
)

// authorityOf makes an authority that is not the operator's.
func authorityOf(t *testing.T) certificates.Authority {
	t.Helper()
	authority, err := certificates.NewAuthority(rand.Reader, hands.Now().Add(-1000*day))
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// madeAt is a Secret's content with a certificate of 90 days that was made at some time.
func madeAt(t *testing.T, authority certificates.Authority, at time.Time, names ...string) map[string][]byte {
	t.Helper()
	c, err := authority.Issue(rand.Reader, names, at)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tls.crt": []byte(c.Pair.Certificate), "tls.key": []byte(c.Pair.Key), "ca.crt": []byte(authority.Pair.Certificate),
	}
}

// with is a Secret's content with one key changed.
func with(data map[string][]byte, key string, value []byte) map[string][]byte {
	data = maps.Clone(data)
	data[key] = value
	return data
}

func withCertificate(secret string) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) { p.Spec.TLS.SecretRef.Name = secret }
}

// heals waits until the configuration is no longer said to be wrong.
func heals(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(reasonOf(pool.Status.Conditions, poolv1.ConditionConfigApplied)).To(gomega.Equal(poolv1.ReasonPending))
	})
}

func TestAPoolWaitsForItsFirstCertificate(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "shop", server(t, 100), withCertificate("shop-tls"))
	c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateMissing)
	if want := "Secret shop-tls, which spec.tls.secretRef names, is not in namespace " + ns; !strings.Contains(c.Message, want) {
		t.Errorf("message = %q", c.Message)
	}
	var own corev1.Secret
	if err := api.Get(t.Context(), key(pool, "-pooler"), &own); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("poolers are told to run without a certificate (%v)", err)
	}
	data := madeAt(t, authorityOf(t), hands.Now(), "shop-pool", "shop-pool."+ns+".svc")
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-tls"}, Data: data})
	s := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.status.Issuer).To(gomega.Equal(poolv1.IssuerSecret)) })
	if err := verify(s, "shop-pool"); err != nil || s.published != string(data["ca.crt"]) {
		t.Errorf("clients with what is published: %v", err)
	}
	heals(t, pool)
}

func TestABadCertificateDoesNotTakeThePlaceOfAGoodOne(t *testing.T) {
	ns, authority := namespace(t), authorityOf(t)
	good := madeAt(t, authority, hands.Now(), "shop-pool."+ns+".svc")
	other := madeAt(t, authority, hands.Now(), "shop-pool."+ns+".svc")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-tls"}, Data: good}
	create(t, secret)
	pool := serve(t, ns, "shop", server(t, 100), withCertificate("shop-tls"))
	before := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.status.NotAfter).NotTo(gomega.BeNil()) })
	heals(t, pool)
	cases := []struct {
		name   string
		data   map[string][]byte
		reason string
		says   string
	}{
		{"a key of another certificate", with(good, "tls.key", other["tls.key"]), poolv1.ReasonCertificateInvalid, "tls.key is not the key of the certificate"},
		{"an expired certificate", madeAt(t, authority, hands.Now().Add(-100*day), "shop-pool"), poolv1.ReasonCertificateInvalid, "the certificate in tls.crt expired at"},
		{"one that is not valid yet", madeAt(t, authority, hands.Now().Add(2*day), "shop-pool"), poolv1.ReasonCertificateInvalid, "valid only from"},
		{"a damaged authority", with(other, "ca.crt", []byte("x")), poolv1.ReasonCertificateInvalid, "ca.crt holds no certificate in PEM"},
		{"a Secret that is emptied", nil, poolv1.ReasonCertificateMissing, "Of Secret shop-tls clients can not be shown its certificate: it has no tls.crt"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			change(t, secret, func() { secret.Data = c.data })
			says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, c.reason)
			eventually(t, func(g gomega.Gomega) {
				condition := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, c.reason)
				g.Expect(condition.Message).To(gomega.ContainSubstring(c.says))
				g.Expect(condition.Message).To(gomega.HaveSuffix("; the last good certificate stays in use"))
			})
			if now := shownBy(t, pool, func(gomega.Gomega, showing) {}); now.tls != before.tls || now.published != before.published {
				t.Error("clients are shown, or told to trust, something else than before")
			}
		})
	}
	change(t, secret, func() { secret.Data = other })
	shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.leaf.Equal(before.leaf)).To(gomega.BeFalse()) })
	heals(t, pool)
}

func TestACertificateThatEndsSoonIsServedAndSpokenOf(t *testing.T) {
	ns := namespace(t)
	data := madeAt(t, authorityOf(t), hands.Now().Add(-85*day), "another.example.com")
	delete(data, "ca.crt")
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-tls"}, Data: data})
	pool := serve(t, ns, "shop", server(t, 100), withCertificate("shop-tls"))
	s := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.status.NotAfter).NotTo(gomega.BeNil()) })
	if s.published != "" || s.leaf.DNSNames[0] != "another.example.com" {
		t.Errorf("it is not served as it is: %q", s.leaf.DNSNames)
	}
	hasEvent(t, pool, poolv1.EventCertificateExpires, "The certificate in use expires on "+s.leaf.NotAfter.UTC().Format(time.DateOnly))
}

func TestClientsMustShowACertificateOfTheAuthorityNamed(t *testing.T) {
	ns, authority := namespace(t), authorityOf(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "staff"}, Data: map[string][]byte{"staff.pem": []byte("x")}}
	create(t, secret)
	pool := serve(t, ns, "shop", server(t, 100), func(p *poolv1.ConnectionPool) {
		p.Spec.TLS = poolv1.ClientTLS{Mode: poolv1.ClientTLSVerifyFull, ClientCASecretRef: poolv1.SecretKeyReference{Name: "staff"}}
	})
	c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateMissing)
	if want := "Secret staff has no key ca.crt"; !strings.Contains(c.Message, want) || !strings.Contains(c.Message, "(staff.pem)") {
		t.Errorf("message = %q, want %q and the keys there are", c.Message, want)
	}
	change(t, pool, func() { pool.Spec.TLS.ClientCASecretRef.Key = "staff.pem" })
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateInvalid)

	change(t, secret, func() { secret.Data["staff.pem"] = []byte(authority.Pair.Certificate + authority.Pair.Key) })
	s := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.tls.CA).NotTo(gomega.BeEmpty()) })
	if s.tls.CA != authority.Pair.Certificate || s.tls.Mode != "verify-full" {
		t.Errorf("mode %s, and poolers have beside the authority's certificate:\n%s", s.tls.Mode, s.tls.CA)
	}
	heals(t, pool)

	change(t, secret, func() { secret.Data = nil })
	c = says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateMissing)
	if want := "it has no staff.pem; the last good authority stays in use"; !strings.HasSuffix(c.Message, want) {
		t.Errorf("message = %q, want %q", c.Message, want)
	}
	if now := shownBy(t, pool, func(gomega.Gomega, showing) {}); now.tls != s.tls {
		t.Error("poolers lost the last good authority")
	}
}
