// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"crypto/rand"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const day = 24 * time.Hour

func TestClientsAreShownACertificateOfTheOperatorsAuthority(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "shop", server(t, 100))
	first := shownBy(t, pool, func(g gomega.Gomega, s showing) {
		g.Expect(s.published).NotTo(gomega.BeEmpty())
		g.Expect(s.status.NotAfter).NotTo(gomega.BeNil())
	})
	names := []string{"shop-pool", "shop-pool." + ns, "shop-pool." + ns + ".svc", "shop-pool." + ns + ".svc.cluster.local"}
	for _, name := range names {
		if err := verify(first, name); err != nil {
			t.Errorf("clients that reach it as %s: %v", name, err)
		}
	}
	want := poolv1.ServedCertificate{Issuer: poolv1.IssuerOperator, DNSNames: names, NotAfter: new(metav1.NewTime(first.leaf.NotAfter.Local())), Authority: first.published}
	if diff := cmp.Diff(want, first.status); diff != "" || first.tls.Mode != "prefer" || first.tls.CA != "" {
		t.Errorf("mode %s, status (-want +got):\n%s", first.tls.Mode, diff)
	}

	t.Run("a name outside the cluster brings a new one", func(t *testing.T) {
		change(t, pool, func() { pool.Spec.Service.ExternalHostname = "db.example.com" })
		second := shownBy(t, pool, func(g gomega.Gomega, s showing) {
			g.Expect(s.leaf.DNSNames).To(gomega.ContainElement("db.example.com"))
		})
		if err := verify(second, "db.example.com"); err != nil || second.published != first.published {
			t.Errorf("clients outside the cluster: %v", err)
		}
		hasEvent(t, pool, poolv1.EventCertificateRenewed, "It has other names")
	})
	t.Run("without TLS there is none", func(t *testing.T) {
		change(t, pool, func() { pool.Spec.TLS.Mode = poolv1.ClientTLSDisable })
		none := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.tls.Mode).To(gomega.Equal("disable")) })
		eventually(t, func(g gomega.Gomega) {
			g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
			g.Expect(pool.Status.TLS).To(gomega.BeZero())
		})
		if none.leaf != nil || none.published != "" {
			t.Errorf("a certificate is left: %+v", none.tls.Certificate)
		}
	})
}

func TestACertificateIsRenewedWhenItIsDue(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100))
	first := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.leaf).NotTo(gomega.BeNil()) })
	old, err := operatorsAuthority(t).Issue(rand.Reader, first.leaf.DNSNames, hands.Now().Add(-61*day))
	if err != nil {
		t.Fatal(err)
	}
	quietFor(t) // A pass under way would write over it.
	rewrite(t, pool, func(d *contract.Document) {
		d.PgBouncer.ClientTLS.Certificate, d.PgBouncer.ClientTLS.Key = old.Pair.Certificate, old.Pair.Key
	})
	second := shownBy(t, pool, func(g gomega.Gomega, s showing) {
		g.Expect(s.leaf.NotAfter).To(gomega.BeTemporally(">", hands.Now().Add(80*day)))
	})
	if second.published != first.published || second.leaf.Equal(first.leaf) {
		t.Error("it was not renewed under the same authority")
	}
	hasEvent(t, pool, poolv1.EventCertificateRenewed, "It is valid until ")
}

func TestTheOperatorsAuthority(t *testing.T) {
	pool := serve(t, namespace(t), "shop", server(t, 100))
	first := shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.leaf).NotTo(gomega.BeNil()) })
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: operatorNamespace, Name: controllers.AuthoritySecret}
	put := func(t *testing.T, certificate, key string) {
		t.Helper()
		change(t, secret, func() { secret.Data["tls.crt"], secret.Data["tls.key"] = []byte(certificate), []byte(key) })
	}
	if err := api.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}

	t.Run("is renewed with its key, so that certificates stay", func(t *testing.T) {
		old, err := operatorsAuthority(t).Renew(rand.Reader, hands.Now().Add(-8*365*day))
		if err != nil {
			t.Fatal(err)
		}
		put(t, old.Pair.Certificate, old.Pair.Key)
		renewed := shownBy(t, pool, func(g gomega.Gomega, s showing) {
			g.Expect(s.published).NotTo(gomega.BeElementOf(first.published, old.Pair.Certificate, ""))
		})
		if err := verify(renewed, "shop-pool"); err != nil || !renewed.leaf.Equal(first.leaf) {
			t.Errorf("the certificate changed, or is not good any more: %v", err)
		}
		first = renewed
	})
	t.Run("is not replaced when it is damaged", func(t *testing.T) {
		whole := operatorsAuthority(t)
		put(t, "damaged", whole.Pair.Key)
		c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateInvalid)
		if !strings.Contains(c.Message, operatorNamespace+"/"+controllers.AuthoritySecret) || !strings.Contains(c.Message, "restore it, or delete it") {
			t.Errorf("the message does not say what to do: %s", c.Message)
		}
		if now := shownBy(t, pool, func(gomega.Gomega, showing) {}); !now.leaf.Equal(first.leaf) || now.published != first.published {
			t.Error("the last good certificate did not stay")
		}
		if err := api.Get(t.Context(), key, secret); err != nil || string(secret.Data["tls.crt"]) != "damaged" {
			t.Error("the authority's Secret was written over")
		}
		put(t, whole.Pair.Certificate, whole.Pair.Key)
	})
	t.Run("is made anew when it is deleted", func(t *testing.T) {
		if err := api.Delete(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		anew := shownBy(t, pool, func(g gomega.Gomega, s showing) {
			g.Expect(s.leaf.Equal(first.leaf)).To(gomega.BeFalse())
			g.Expect(s.published).NotTo(gomega.Equal(first.published))
		})
		if err := verify(anew, "shop-pool"); err != nil {
			t.Errorf("clients with the new ca.crt: %v", err)
		}
		hasEvent(t, pool, poolv1.EventCertificateRenewed, "It comes from another authority: clients that verify it need its ca.crt")
	})
}

// showing is what clients of a pool are shown, and told to verify it with.
type showing struct {
	tls       pgbouncer.ClientTLS
	leaf      *x509.Certificate
	published string
	status    poolv1.ServedCertificate
}

// shownBy waits until what clients are shown satisfies the check.
func shownBy(t *testing.T, pool *poolv1.ConnectionPool, check func(gomega.Gomega, showing)) showing {
	t.Helper()
	var s showing
	eventually(t, func(g gomega.Gomega) {
		var own, published corev1.Secret
		g.Expect(api.Get(t.Context(), key(pool, "-pooler"), &own)).To(gomega.Succeed())
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &published)).To(gomega.Succeed())
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		document, err := contract.DecodeDocument(own.Data[contract.ConfigKey])
		g.Expect(err).NotTo(gomega.HaveOccurred())
		s = showing{tls: document.PgBouncer.ClientTLS, published: string(published.Data["ca.crt"]), status: pool.Status.TLS}
		g.Expect(s.status.Authority).To(gomega.Equal(s.published), "the gateway verifies by another authority than clients")
		if s.tls.Certificate != "" {
			parsed, err := certificates.Parse([]byte(s.tls.Certificate), []byte(s.tls.Key))
			g.Expect(err).NotTo(gomega.HaveOccurred())
			s.leaf = parsed.Leaf
		}
		check(g, s)
	})
	return s
}

// verify does as a client that has what is published.
func verify(s showing, name string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.published))
	_, err := s.leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: hands.Now()})
	return err
}

func operatorsAuthority(t *testing.T) certificates.Authority {
	t.Helper()
	var secret corev1.Secret
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: controllers.AuthoritySecret}, &secret); err != nil {
		t.Fatal(err)
	}
	authority, err := certificates.ParseAuthority(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// rewrite changes what the poolers of a pool are told, as nobody but the operator should.
func rewrite(t *testing.T, pool *poolv1.ConnectionPool, edit func(*contract.Document)) {
	t.Helper()
	var secret corev1.Secret
	if err := api.Get(t.Context(), key(pool, "-pooler"), &secret); err != nil {
		t.Fatal(err)
	}
	change(t, &secret, func() {
		document, err := contract.DecodeDocument(secret.Data[contract.ConfigKey])
		if err != nil {
			t.Fatal(err)
		}
		edit(&document)
		if secret.Data[contract.ConfigKey], _, err = document.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

// hasEvent waits for an event of a pool.
func hasEvent(t *testing.T, pool *poolv1.ConnectionPool, reason, text string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		var list eventsv1.EventList
		g.Expect(api.List(t.Context(), &list, client.InNamespace(pool.Namespace))).To(gomega.Succeed())
		g.Expect(slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
			return e.Reason == reason && e.Regarding.Name == pool.Name && strings.Contains(e.Note, text)
		})).To(gomega.BeTrue(), "no event %s with %q", reason, text)
	})
}
