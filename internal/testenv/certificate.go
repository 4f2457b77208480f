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

// Certificate is a certificate and its key, and the authority that signed it, all in PEM.
type Certificate struct {
	Certificate, Key, CA []byte
}

// Authority signs certificates. Its own is in CA, in PEM.
type Authority struct {
	CA []byte

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	now, key := time.Now(), newKey(t)
	template := &x509.Certificate{
		SerialNumber: newSerial(t), Subject: pkix.Name{CommonName: "testenv authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	text := sign(t, template, template, key, key)
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes) // It has an identifier now, that tells authorities of one name apart.
	if err != nil {
		t.Fatalf("reading a certificate: %v", err)
	}
	return &Authority{CA: text, certificate: certificate, key: key}
}

// Issue makes a certificate, for a server with the given DNS names and IP addresses
// and for a client named like the first of them.
func (a *Authority) Issue(t testing.TB, hosts ...string) Certificate {
	t.Helper()
	key, serial := newKey(t), newSerial(t)
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encoding a private key: %v", err)
	}
	return Certificate{
		CA:          a.CA,
		Certificate: sign(t, leaf, a.certificate, key, a.key),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}
}

// NewCertificate makes an authority and a certificate as Issue does. The
// authority's key is thrown away.
func NewCertificate(t testing.TB, hosts ...string) Certificate {
	t.Helper()
	return NewAuthority(t).Issue(t, hosts...)
}

func newSerial(t testing.TB) *big.Int {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatalf("making a serial number: %v", err)
	}
	return serial
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

// serverNames are those of every test server's certificate.
var serverNames = []string{"127.0.0.1", "localhost", "postgres.test"}

// Certify gives a server that was started with TLS another certificate, and the
// authorities, in PEM, that clients' certificates must come from where pg_hba.conf
// asks for one (clientcert). They are in force for logins from now on.
func (s *PostgresServer) Certify(t testing.TB, certificate Certificate, clients string) {
	t.Helper()
	writeOwned(t, filepath.Join(s.outside, "server.crt"), string(certificate.Certificate))
	writeOwned(t, filepath.Join(s.outside, "server.key"), string(certificate.Key))
	writeOwned(t, filepath.Join(s.outside, "ca.crt"), clients)
	s.Exec(t, "alter system set ssl_ca_file = 'ca.crt'", "select pg_reload_conf()")
	s.CA = certificate.CA
}

// writeServerCertificate makes a certificate for a server, and returns the authority's.
func writeServerCertificate(t testing.TB, data string) []byte {
	t.Helper()
	certificate := NewCertificate(t, serverNames...)
	writeCertificate(t, data, certificate)
	return certificate.CA
}

// writeCertificate puts a certificate where PostgreSQL looks for it by default
// (ssl_cert_file, ssl_key_file).
func writeCertificate(t testing.TB, data string, certificate Certificate) {
	t.Helper()
	writeOwned(t, filepath.Join(data, "server.crt"), string(certificate.Certificate))
	writeOwned(t, filepath.Join(data, "server.key"), string(certificate.Key))
}
