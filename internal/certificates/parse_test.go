// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package certificates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/poolfleet/poolfleet/internal/certificates"
)

func encoded(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestWhatCanNotBeUsedIsNamedWithWhatToDo(t *testing.T) {
	a := authority(t, now)
	one, other := issue(t, a, now, "one").Pair, issue(t, a, now, "other").Pair
	body := strings.TrimSuffix(strings.TrimPrefix(one.Key, "-----BEGIN PRIVATE KEY-----"), "-----END PRIVATE KEY-----\n")
	pkcs8 := func(kind string) string {
		return "-----BEGIN " + kind + "-----" + body + "-----END " + kind + "-----\n"
	}
	cases := map[string]struct {
		certificate, key, says string
		missing                bool
	}{
		"no certificate":                {"", one.Key, "it has no tls.crt", true},
		"a certificate of blanks":       {" \n", one.Key, "it has no tls.crt", true},
		"no key":                        {one.Certificate, "", "it has no tls.key", true},
		"not PEM":                       {"0x30", one.Key, "tls.crt holds no certificate in PEM", false},
		"a key in the certificate":      {one.Key, one.Key, "tls.crt holds no certificate in PEM", false},
		"a damaged certificate":         {encoded("CERTIFICATE", []byte("x")), one.Key, "certificate 1 in tls.crt can not be read", false},
		"a damaged intermediate":        {one.Certificate + encoded("CERTIFICATE", []byte("x")), one.Key, "certificate 2 in tls.crt can not be read", false},
		"a certificate in the key":      {one.Certificate, one.Certificate, "tls.key holds no private key in PEM", false},
		"a damaged key":                 {one.Certificate, encoded("PRIVATE KEY", []byte("x")), "tls.key can not be read", false},
		"an encrypted key":              {one.Certificate, pkcs8("ENCRYPTED PRIVATE KEY"), "`openssl pkey`", false},
		"an encrypted key of old":       {one.Certificate, strings.Replace(pkcs8("EC PRIVATE KEY"), body, "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n"+body, 1), "`openssl pkey`", false},
		"another's key":                 {one.Certificate, other.Key, "tls.key is not the key of the certificate", false},
		"the authority before its leaf": {a.Pair.Certificate + one.Certificate, one.Key, "must come first", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := certificates.Parse([]byte(c.certificate), []byte(c.key))
			var e *certificates.Error
			if !errors.As(err, &e) || !strings.Contains(e.Message, c.says) || e.Missing != c.missing {
				t.Fatalf("got %+v, want %q, missing %t", err, c.says, c.missing)
			}
			if line, _, _ := strings.Cut(strings.TrimSpace(body), "\n"); strings.Contains(e.Message, line) || strings.HasSuffix(e.Message, ".") {
				t.Errorf("the message quotes the key, or ends with a full stop: %s", e.Message)
			}
		})
	}
}

func TestAWeakRSAKeyIsRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	a := authority(t, now)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{NotBefore: now, NotAfter: now.Add(day)}, a.Certificate, key.Public(), signerOf(t, a))
	if err != nil {
		t.Fatal(err)
	}
	_, err = certificates.Parse([]byte(encoded("CERTIFICATE", der)), []byte(encoded("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))))
	if err == nil || !strings.Contains(err.Error(), "1024 bits: make one of at least 2048") {
		t.Errorf("got %v", err)
	}
}

func signerOf(t *testing.T, a certificates.Authority) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(a.Pair.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the authority's key is a %T", key)
	}
	return signer
}

func TestKeysAreTakenAsToolsWriteThem(t *testing.T) {
	a := authority(t, now)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		public any
		key    string
	}{
		"openssl ecparam -genkey": {ec.Public(), encoded("EC PARAMETERS", []byte{6, 8}) + encoded("EC PRIVATE KEY", sec1)},
		"openssl genrsa of old":   {rsaKey.Public(), encoded("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"behind its certificate":  {ec.Public(), a.Pair.Certificate + encoded("EC PRIVATE KEY", sec1)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{NotBefore: now, NotAfter: now.Add(day)}, a.Certificate, c.public, signerOf(t, a))
			if err != nil {
				t.Fatal(err)
			}
			got, err := certificates.Parse([]byte(encoded("CERTIFICATE", der)+a.Pair.Certificate), []byte(c.key))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(got.Pair.Certificate, "BEGIN CERTIFICATE") != 2 || strings.Count(got.Pair.Key, "BEGIN PRIVATE KEY") != 1 {
				t.Errorf("it is passed on as\n%s", got.Pair.Certificate)
			}
			if _, err := certificates.Parse([]byte(got.Pair.Certificate), []byte(got.Pair.Key)); err != nil {
				t.Errorf("what is passed on can not be read: %v", err)
			}
		})
	}
}

func TestACertificateIsGoodForATime(t *testing.T) {
	c := issue(t, authority(t, now), now, "shop-pool")
	if err := c.At(now); err != nil {
		t.Errorf("now: %v", err)
	}
	if err := c.At(now.Add(91 * day)); err == nil || !strings.Contains(err.Error(), "expired at 2026-08-02 03:02 UTC") {
		t.Errorf("after its end: %v", err)
	}
	if err := c.At(now.Add(-day)); err == nil || !strings.Contains(err.Error(), "valid only from 2026-05-04 02:02 UTC on") {
		t.Errorf("before its time: %v", err)
	}
	if !c.Covers("shop-pool") || c.Covers("other-pool") {
		t.Error("the names it covers are mistaken")
	}
}

func TestABundleHoldsCertificatesAlone(t *testing.T) {
	a := authority(t, now)
	got, err := certificates.Bundle([]byte("# ours\n"+a.Pair.Key+a.Pair.Certificate), "ca.pem", now)
	if err != nil || got != a.Pair.Certificate {
		t.Errorf("got %q (%v)", got, err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":  {"", "it has no ca.pem"},
		"a key":    {a.Pair.Key, "ca.pem holds no certificate in PEM"},
		"past all": {authority(t, now.Add(-4000*day)).Pair.Certificate, "the certificate in ca.pem expired at"},
	} {
		if _, err := certificates.Bundle([]byte(c.text), "ca.pem", now); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
