// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a server's certificate and key, and the authority that signed
// it, all in PEM.
type Certificate struct {
	Certificate, Key, CA []byte
}

// NewCertificate makes an authority and a server certificate for the given DNS
// names and IP addresses. The authority's key is thrown away.
func NewCertificate(t testing.TB, hosts ...string) Certificate {
	t.Helper()
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "testenv authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	authorityKey, serverKey := newKey(t), newKey(t)
	encodedKey, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatalf("encoding a private key: %v", err)
	}
	return Certificate{
		CA:          sign(t, authority, authority, authorityKey, authorityKey),
		Certificate: sign(t, server, authority, serverKey, authorityKey),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encodedKey}),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("making a private key: %v", err)
	}
	return key
}

func sign(t testing.TB, subject, issuer *x509.Certificate, subjectKey, issuerKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, subject, issuer, subjectKey.Public(), issuerKey)
	if err != nil {
		t.Fatalf("signing a certificate: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeServerCertificate puts a certificate where PostgreSQL looks for it by
// default (ssl_cert_file, ssl_key_file), and returns the authority's.
func writeServerCertificate(t testing.TB, data string) []byte {
	t.Helper()
	certificate := NewCertificate(t, "127.0.0.1", "localhost", "postgres.test")
	writeOwned(t, filepath.Join(data, "server.crt"), string(certificate.Certificate))
	writeOwned(t, filepath.Join(data, "server.key"), string(certificate.Key))
	return certificate.CA
}
