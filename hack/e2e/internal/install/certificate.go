// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// certificate gives a server a certificate that it signed itself.
func (p *Postgres) certificate(ctx context.Context, c client.Client) error {
	cert, key, err := SelfSigned(p.Host())
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name + "-tls"},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
	if err := client.IgnoreAlreadyExists(c.Create(ctx, secret)); err != nil {
		return fmt.Errorf("keeping the certificate of server %s: %w", p.Name, err)
	}
	return nil
}

// SelfSigned returns a certificate for a host that nobody signed but itself, and its key, both as PEM.
func SelfSigned(host string) (cert, key []byte, err error) {
	template, private, err := leaf(host)
	if err != nil {
		return nil, nil, err
	}
	return signed(template, template, private, private)
}

// Authority signs certificates.
type Authority struct {
	// PEM is its own certificate.
	PEM []byte

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority returns an authority that nobody knows.
func NewAuthority() (*Authority, error) {
	template, private, err := leaf()
	if err != nil {
		return nil, err
	}
	template.Subject.CommonName = "an authority for tests"
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	cert, _, err := signed(template, template, private, private)
	return &Authority{PEM: cert, certificate: template, key: private}, err
}

// Issue returns a certificate for hosts, and its key, both as PEM.
func (a *Authority) Issue(hosts ...string) (cert, key []byte, err error) {
	template, private, err := leaf(hosts...)
	if err != nil {
		return nil, nil, err
	}
	return signed(template, a.certificate, private, a.key)
}

// leaf is what a certificate says, and its key.
func leaf(hosts ...string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if len(hosts) > 0 {
		template.Subject = pkix.Name{CommonName: hosts[0]}
	}
	return template, private, nil
}

func signed(template, parent *x509.Certificate, private, by *ecdsa.PrivateKey) (cert, key []byte, err error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, by)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}
