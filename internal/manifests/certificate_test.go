// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

func TestCertManagerIsAskedForACertificate(t *testing.T) {
	in := manifests.Inputs{Pool: manifests.Owner{Name: "shop", Namespace: "team", UID: "u"}}
	ask := func(issuer poolv1.IssuerReference) map[string]any {
		t.Helper()
		data, err := json.Marshal(manifests.Certificate(in, issuer, []string{"db.example.com", "shop-pool"}))
		if err != nil {
			t.Fatal(err)
		}
		var object struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
			Spec             map[string]any
		}
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatal(err)
		}
		if got, want := []string{object.APIVersion, object.Kind, object.Metadata.Namespace, object.Metadata.Name}, []string{"cert-manager.io/v1", "Certificate", "team", "shop-pool-tls"}; !cmp.Equal(want, got) {
			t.Errorf("asked for %q, want %q", got, want)
		}
		return object.Spec
	}
	want := map[string]any{
		"secretName": "shop-pool-tls", "dnsNames": []any{"db.example.com", "shop-pool"}, "usages": []any{"digital signature", "server auth"},
		"privateKey": map[string]any{"algorithm": "ECDSA", "size": 256.0, "rotationPolicy": "Always"},
		"issuerRef":  map[string]any{"name": "ca", "kind": "Issuer", "group": "cert-manager.io"},
	}
	if diff := cmp.Diff(want, ask(poolv1.IssuerReference{Name: "ca"})); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	want["issuerRef"] = map[string]any{"name": "ca", "kind": "StepClusterIssuer", "group": "certmanager.step.sm"}
	if diff := cmp.Diff(want, ask(poolv1.IssuerReference{Name: "ca", Kind: "StepClusterIssuer", Group: "certmanager.step.sm"})); diff != "" {
		t.Errorf("spec with an issuer of another kind (-want +got):\n%s", diff)
	}
}
