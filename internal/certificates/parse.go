// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keys of a Secret of type kubernetes.io/tls, and the one beside them that
// cert-manager and others put the authority under.
const (
	CertificateKey = "tls.crt"
	PrivateKeyKey  = "tls.key"
	AuthorityKey   = "ca.crt"
)

// minRSABits is what OpenSSL accepts at Debian's security level 2.
const minRSABits = 2048

// Pair is a certificate, followed by its chain, and its private key, in PEM.
type Pair struct {
	Certificate, Key string
}

// Certificate is one that a server can show.
type Certificate struct {
	// Leaf is the server's own.
	Leaf *x509.Certificate
	// Pair holds it, its chain and its key, and nothing else that stood beside them.
	Pair Pair

	key crypto.Signer
}

// Error says why material can not be used, and what to do about it. It quotes no
// part of a key.
type Error struct {
	// Missing is true when something is not there at all.
	Missing bool
	Message string
}

func (e *Error) Error() string { return e.Message }

func invalid(format string, args ...any) error { return &Error{Message: fmt.Sprintf(format, args...)} }

func missing(key string) error {
	return &Error{Missing: true, Message: "it has no " + key}
}

// Parse reads a certificate and its key as a Secret of type kubernetes.io/tls holds
// them, and checks that they belong together. It does not look at the time. Its
// errors are *Error.
func Parse(certificate, key []byte) (Certificate, error) {
	chain, err := parseCertificates(certificate, CertificateKey)
	if err != nil {
		return Certificate{}, err
	}
	signer, err := parseKey(key)
	if err != nil {
		return Certificate{}, err
	}
	if !belongs(chain[0], signer) {
		if slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return belongs(c, signer) }) {
			return Certificate{}, invalid("the certificate of %s must come first in %s, before those of its authorities", PrivateKeyKey, CertificateKey)
		}
		return Certificate{}, invalid("%s is not the key of the certificate in %s: put the two that were made together", PrivateKeyKey, CertificateKey)
	}
	if public, ok := signer.Public().(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
		return Certificate{}, invalid("%s is an RSA key of %d bits: make one of at least %d", PrivateKeyKey, public.N.BitLen(), minRSABits)
	}
	encoded, err := encodeKey(signer)
	if err != nil {
		return Certificate{}, invalid("%s is of a kind that PgBouncer can not use: make an ECDSA or RSA key", PrivateKeyKey)
	}
	return Certificate{Leaf: chain[0], Pair: Pair{Certificate: encodeCertificates(chain...), Key: encoded}, key: signer}, nil
}

// At returns an *Error unless the certificate is valid at a time.
func (c Certificate) At(now time.Time) error {
	switch {
	case now.After(c.Leaf.NotAfter):
		return expired(CertificateKey, c.Leaf)
	case now.Before(c.Leaf.NotBefore):
		return invalid("the certificate in %s is valid only from %s on: put one that is valid now", CertificateKey, moment(c.Leaf.NotBefore))
	}
	return nil
}

func expired(key string, c *x509.Certificate) error {
	return invalid("the certificate in %s expired at %s: put a new one", key, moment(c.NotAfter))
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// Covers reports whether clients that reach the server under a name accept the certificate.
func (c Certificate) Covers(name string) bool { return c.Leaf.VerifyHostname(name) == nil }

// Bundle reads the certificates of authorities that stand under a key of a Secret,
// and returns them alone: whatever else stood there is not passed on. One of them
// must be valid at the time. Its errors are *Error.
func Bundle(data []byte, key string, now time.Time) (string, error) {
	all, err := parseCertificates(data, key)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(all, func(c *x509.Certificate) bool { return now.Before(c.NotAfter) }) {
		return "", expired(key, all[0])
	}
	return encodeCertificates(all...), nil
}

func parseCertificates(data []byte, key string) ([]*x509.Certificate, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, missing(key)
	}
	var all []*x509.Certificate
	for block := range blocks(data) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid("certificate %d in %s can not be read: it is damaged, put it there anew", len(all)+1, key)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, invalid("%s holds no certificate in PEM: it must begin with -----BEGIN CERTIFICATE-----", key)
	}
	return all, nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, missing(PrivateKeyKey)
	}
	for block := range blocks(data) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // Parameters of the curve, or a certificate.
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, invalid("%s is encrypted, and nobody is there to type its passphrase: put the key that `openssl pkey` makes of it", PrivateKeyKey)
		}
		// The errors of these may describe what they read.
		if key := decodeKey(block.Bytes); key != nil {
			return key, nil
		}
		return nil, invalid("%s can not be read: it is damaged, put it there anew", PrivateKeyKey)
	}
	return nil, invalid("%s holds no private key in PEM: it must begin with -----BEGIN PRIVATE KEY-----", PrivateKeyKey)
}

func decodeKey(der []byte) crypto.Signer {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, _ := key.(crypto.Signer)
		return signer
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key
	}
	return nil
}

func belongs(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && public.Equal(c.PublicKey)
}

// blocks goes through the PEM blocks of a text.
func blocks(data []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for {
			var block *pem.Block
			if block, data = pem.Decode(data); block == nil || !yield(block) {
				return
			}
		}
	}
}

func encodeCertificates(all ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range all {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}

func encodeKey(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding a key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
