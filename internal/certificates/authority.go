// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package certificates makes certificates and judges those that are given: an
// authority, the certificates of poolers that it signs, when each is due for
// renewal, and what is wrong with a certificate, a key or a list of authorities. It
// is told the time, and keeps, reads and writes nothing.
package certificates

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// clockSkew is how far the clocks of clients may be behind ours.
	clockSkew = time.Hour
	// maxCommonName is X.520's ub-common-name.
	maxCommonName = 64
)

// Authority signs the certificates of poolers.
type Authority struct {
	// Certificate is the root that clients trust.
	Certificate *x509.Certificate
	// Pair holds it and its key.
	Pair Pair

	key crypto.Signer
}

// NewAuthority makes an authority: a key, and a root certificate of ten years. Two
// authorities never have one subject, so that clients may trust both at a time.
func NewAuthority(random io.Reader, now time.Time) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return Authority{}, fmt.Errorf("making the authority's key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Authority{}, fmt.Errorf("encoding the authority's public key: %w", err)
	}
	id := sha256.Sum256(public)
	return selfSigned(random, now, key, &x509.Certificate{
		Subject:      pkix.Name{CommonName: "Poolfleet authority " + hex.EncodeToString(id[:4])},
		SubjectKeyId: id[:20], // RFC 7093, section 2, method 1.
	})
}

// Renew returns the authority with a new root certificate of the same key, subject
// and key identifier. Every certificate it signed stays valid under the new root,
// and what it signs from now on under copies of the old one, until that expires.
func (a Authority) Renew(random io.Reader, now time.Time) (Authority, error) {
	return selfSigned(random, now, a.key, &x509.Certificate{
		RawSubject: a.Certificate.RawSubject, SubjectKeyId: a.Certificate.SubjectKeyId,
	})
}

func selfSigned(random io.Reader, now time.Time, key crypto.Signer, template *x509.Certificate) (Authority, error) {
	template.NotBefore, template.NotAfter = now.Add(-clockSkew), now.Add(authorityLife)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	root, err := sign(random, template, template, key, key)
	if err != nil {
		return Authority{}, fmt.Errorf("signing the authority's certificate: %w", err)
	}
	return Authority{Certificate: root.Leaf, Pair: root.Pair, key: key}, nil
}

// ParseAuthority reads an authority. Its errors are *Error.
func ParseAuthority(certificate, key []byte) (Authority, error) {
	given, err := Parse(certificate, key)
	if err != nil {
		return Authority{}, err
	}
	if !given.Leaf.IsCA || given.Leaf.CheckSignatureFrom(given.Leaf) != nil {
		return Authority{}, invalid("%s is not the self-signed certificate of an authority", CertificateKey)
	}
	return Authority{Certificate: given.Leaf, Pair: given.Pair, key: given.key}, nil
}

// RenewAt is when the authority is due for renewal: years before certificates that
// it signs would have to end with it.
func (a Authority) RenewAt() time.Time { return twoThirds(a.Certificate) }

// Signed reports whether a certificate comes from this authority, whichever of its
// root certificates was in force.
func (a Authority) Signed(leaf *x509.Certificate) bool {
	return bytes.Equal(leaf.RawIssuer, a.Certificate.RawSubject) && leaf.CheckSignatureFrom(a.Certificate) == nil
}

// Issue makes a server's certificate of 90 days for DNS names, and a key for it.
func (a Authority) Issue(random io.Reader, names []string, now time.Time) (Certificate, error) {
	if now.After(a.Certificate.NotAfter) {
		return Certificate{}, expired(CertificateKey, a.Certificate)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		DNSNames: names, NotBefore: now.Add(-clockSkew), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(a.Certificate.NotAfter) {
		template.NotAfter = a.Certificate.NotAfter
	}
	if short := slices.IndexFunc(names, func(name string) bool { return len(name) <= maxCommonName }); short >= 0 {
		template.Subject.CommonName = names[short]
	}
	leaf, err := sign(random, template, a.Certificate, key, a.key)
	if err != nil {
		return Certificate{}, fmt.Errorf("signing a certificate: %w", err)
	}
	return leaf, nil
}

// sign makes the certificate of subjectKey. Its serial number is random.
func sign(random io.Reader, subject, issuer *x509.Certificate, subjectKey, issuerKey crypto.Signer) (Certificate, error) {
	der, err := x509.CreateCertificate(random, subject, issuer, subjectKey.Public(), issuerKey)
	if err != nil {
		return Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, err
	}
	encoded, err := encodeKey(subjectKey)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{Leaf: leaf, Pair: Pair{Certificate: encodeCertificates(leaf), Key: encoded}, key: subjectKey}, nil
}

// RenewAt is when a certificate of the operator's own is due for renewal: after two
// thirds of its life, or up to a tenth of its life sooner, by the name of what it is
// for. Without that, all that were made at once would be renewed at once.
func RenewAt(leaf *x509.Certificate, name string) time.Time {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name)) // A hash takes everything.
	const steps = 1000
	sooner := int64(hash.Sum32()%steps) * int64(leaf.NotAfter.Sub(leaf.NotBefore)) / (10 * steps)
	return twoThirds(leaf).Add(-time.Duration(sooner))
}

// twoThirds is when so much of a certificate's life is over.
func twoThirds(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}
