// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// certManagersKind is as much of cert-manager's Certificate as is asked of it.
func certManagersKind() *apiextensionsv1.CustomResourceDefinition {
	text := apiextensionsv1.JSONSchemaProps{Type: "string"}
	list := func(of apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &of}}
	}
	object := func(fields map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: fields}
	}
	type fields = map[string]apiextensionsv1.JSONSchemaProps
	schema := object(fields{
		"spec": object(fields{
			"secretName": text, "dnsNames": list(text), "usages": list(text),
			"privateKey": object(fields{"algorithm": text, "size": {Type: "integer"}, "rotationPolicy": text}),
			"issuerRef":  object(fields{"name": text, "kind": text, "group": text}),
		}),
		"status": object(fields{"conditions": list(object(fields{"type": text, "status": text, "reason": text, "message": text}))}),
	})
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "certificates.cert-manager.io"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: manifests.CertificateKind.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "Certificate", ListKind: "CertificateList", Plural: "certificates", Singular: "certificate"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: manifests.CertificateKind.Version, Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

// installCertManager brings its kind for the rest of the test.
func installCertManager(t *testing.T) {
	t.Helper()
	kinds := envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{certManagersKind()}}
	if _, err := envtest.InstallCRDs(cluster, kinds); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(cluster, kinds); err != nil {
			t.Error(err)
		}
	})
}

func TestCertManagerIssuesTheCertificate(t *testing.T) {
	ns, authority := namespace(t), authorityOf(t)
	pool := serve(t, ns, "shop", server(t, 100), func(p *poolv1.ConnectionPool) { p.Spec.TLS.IssuerRef.Name = "company" })
	c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonIssuerMissing)
	if want := "cert-manager, which spec.tls.issuerRef asks for a certificate, is not installed"; !strings.Contains(c.Message, want) {
		t.Errorf("message = %q, want %q", c.Message, want)
	}
	installCertManager(t)
	signals.Pool(t.Context(), client.ObjectKeyFromObject(pool)) // Else it is looked at again in a moment.
	certificate := &unstructured.Unstructured{}
	certificate.SetGroupVersionKind(manifests.CertificateKind)

	t.Run("it is asked for one", func(t *testing.T) {
		eventually(t, func(g gomega.Gomega) {
			g.Expect(api.Get(t.Context(), key(pool, "-pool-tls"), certificate)).To(gomega.Succeed())
		})
		names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
		want := []string{"shop-pool", "shop-pool." + ns, "shop-pool." + ns + ".svc", "shop-pool." + ns + ".svc.cluster.local"}
		if diff := cmp.Diff(want, names); diff != "" || !metav1.IsControlledBy(certificate, pool) {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	})
	t.Run("what it says of an issuer that never issues is said of the pool", func(t *testing.T) {
		said := []any{map[string]any{"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "Issuer company is not there."}}
		if err := unstructured.SetNestedSlice(certificate.Object, said, "status", "conditions"); err != nil {
			t.Fatal(err)
		}
		if err := api.Status().Update(t.Context(), certificate); err != nil {
			t.Fatal(err)
		}
		hands.ahead.Add(int64(2 * time.Minute)) // An issuer may take its time.
		signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		eventually(t, func(g gomega.Gomega) {
			c := says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateMissing)
			g.Expect(c.Message).To(gomega.Equal("cert-manager has issued no certificate yet: Issuer company is not there"))
		})
	})
	issued := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shop-pool-tls"}, Data: madeAt(t, authority, hands.Now(), "shop-pool", "shop-pool."+ns+".svc")}
	var first showing
	t.Run("what it issues is shown, and what it renews", func(t *testing.T) {
		create(t, issued)
		first = shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.status.Issuer).To(gomega.Equal(poolv1.IssuerCertManager)) })
		if err := verify(first, "shop-pool"); err != nil {
			t.Error(err)
		}
		change(t, issued, func() { issued.Data = madeAt(t, authority, hands.Now(), "shop-pool", "shop-pool."+ns+".svc") })
		first = shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.leaf.Equal(first.leaf)).To(gomega.BeFalse()) })
	})
	t.Run("the last good one stays when its Secret goes", func(t *testing.T) {
		if err := api.Delete(t.Context(), issued); err != nil {
			t.Fatal(err)
		}
		says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonCertificateMissing)
		if now := shownBy(t, pool, func(gomega.Gomega, showing) {}); now.tls != first.tls || now.published != first.published {
			t.Error("clients are shown, or told to trust, something else than before")
		}
	})
	t.Run("it is asked no more when the spec asks no issuer", func(t *testing.T) {
		change(t, pool, func() { pool.Spec.TLS.IssuerRef = poolv1.IssuerReference{} })
		shownBy(t, pool, func(g gomega.Gomega, s showing) { g.Expect(s.status.Issuer).To(gomega.Equal(poolv1.IssuerOperator)) })
		eventually(t, func(g gomega.Gomega) {
			g.Expect(apierrors.IsNotFound(api.Get(t.Context(), key(pool, "-pool-tls"), certificate))).To(gomega.BeTrue())
		})
	})
}
