// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"cmp"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// certManagerGroup is where cert-manager's kinds and, by default, its issuers are.
const certManagerGroup = "cert-manager.io"

// CertificateKind is cert-manager's Certificate.
var CertificateKind = schema.GroupVersionKind{Group: certManagerGroup, Version: "v1", Kind: "Certificate"}

// CertificateName is the name of a pool's Certificate, where cert-manager issues it,
// and of the Secret that cert-manager puts it into.
func CertificateName(pool string) string { return PooledName(pool) + "-tls" }

// certificate is cert-manager's Certificate as far as we fill it in. Its Go types
// would bring all of cert-manager along.
// Source: cert-manager's API reference, Certificate.
type certificate struct {
	metav1ac.TypeMetaApplyConfiguration    `json:",inline"`
	*metav1ac.ObjectMetaApplyConfiguration `json:"metadata,omitempty"`

	Spec certificateSpec `json:"spec"`
}

type certificateSpec struct {
	SecretName string          `json:"secretName"`
	DNSNames   []string        `json:"dnsNames"`
	PrivateKey privateKey      `json:"privateKey"`
	Usages     []string        `json:"usages"`
	IssuerRef  issuerReference `json:"issuerRef"`
}

type privateKey struct {
	Algorithm      string `json:"algorithm"`
	Size           int32  `json:"size"`
	RotationPolicy string `json:"rotationPolicy"`
}

type issuerReference struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Group string `json:"group"`
}

// IsApplyConfiguration makes it one.
func (*certificate) IsApplyConfiguration() {}

// Certificate asks cert-manager for a certificate for DNS names. It is not among
// what Build returns, because a cluster may not know its kind.
func Certificate(in Inputs, issuer poolv1.IssuerReference, names []string) runtime.ApplyConfiguration {
	name := CertificateName(in.Pool.Name)
	c := &certificate{ObjectMetaApplyConfiguration: in.objectMeta(name, nil, nil)}
	c.WithKind(CertificateKind.Kind).WithAPIVersion(CertificateKind.GroupVersion().String())
	c.Spec = certificateSpec{
		SecretName: name,
		DNSNames:   names,
		PrivateKey: privateKey{Algorithm: "ECDSA", Size: 256, RotationPolicy: "Always"},
		Usages:     []string{"digital signature", "server auth"},
		IssuerRef: issuerReference{
			Name: issuer.Name, Kind: cmp.Or(issuer.Kind, "Issuer"), Group: cmp.Or(issuer.Group, certManagerGroup),
		},
	}
	return c
}
