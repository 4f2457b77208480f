// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// signer is a certificate that may sign others.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes a certificate, changed as asked, and signs it; without a signer it
// signs itself.
func issue(t *testing.T, by *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprint(serial)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	if by == nil {
		by = &signer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{certificate, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
}

// forLoopback names the address under which tests reach a server.
func forLoopback(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }

func (s *signer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Raw}))
}

func (s *signer) keyPEM(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// shown is what a server shows, whose clients must come from another authority.
func (s *signer) shown(t *testing.T, clients *signer, chain ...*signer) testenv.Certificate {
	t.Helper()
	text := s.pem()
	for _, next := range chain {
		text += next.pem()
	}
	return testenv.Certificate{Certificate: []byte(text), Key: []byte(s.keyPEM(t)), CA: []byte(clients.pem())}
}

func TestTheSpecsWordOnTLSCountsMoreThanTheURLs(t *testing.T) {
	t.Parallel()
	ca := issue(t, nil, authority).pem()
	tests := map[string]struct {
		host, url string
		way       TLS
		want      string
	}{
		"nothing said, outside":            {"db.example.com", "", TLS{}, "require"},
		"nothing said, inside":             {"db", "", TLS{}, "prefer"},
		"the URL alone":                    {"db", "?sslmode=verify-full", TLS{}, "verify-full"},
		"a weaker mode than the URL's":     {"db", "?sslmode=verify-full", TLS{Mode: "require"}, "require"},
		"system roots, a weaker mode":      {"db", "?sslrootcert=system", TLS{Mode: "require"}, "require"},
		"prefer, outside":                  {"db.example.com", "", TLS{Mode: "prefer"}, "require"},
		"allow, outside":                   {"db.example.com", "", TLS{Mode: "allow"}, "require"},
		"prefer, inside":                   {"db.demo.svc", "?sslmode=disable", TLS{Mode: "prefer"}, "prefer"},
		"disable, outside":                 {"db.example.com", "?sslmode=require", TLS{Mode: "disable"}, "disable"},
		"an authority":                     {"db", "", TLS{CA: ca}, "verify-full"},
		"an authority, and the URL less":   {"db", "?sslmode=disable", TLS{CA: ca}, "verify-full"},
		"an authority for a mode of its":   {"db", "", TLS{CA: ca, Mode: "verify-ca"}, "verify-ca"},
		"a URL that disables, outside":     {"db.example.com", "?sslmode=disable", TLS{}, "disable"},
		"system roots":                     {"db.example.com", "?sslrootcert=system", TLS{}, "verify-full"},
		"verification with system's roots": {"db", "", TLS{Mode: "verify-ca"}, "verify-ca"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, err := ParseSecret(secret(map[string]string{"uri": "postgres://app@" + test.host + "/shop" + test.url}), "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := source.WithTLS(test.way)
			if err != nil || got.TLSMode != test.want || got.CA != test.way.CA {
				t.Errorf("got mode %q, %v, want %q", got.TLSMode, err, test.want)
			}
			if got.URL() != source.URL() {
				t.Errorf("the direct URL changed to %s", got)
			}
		})
	}
}

func TestMaterialThatCanNotBeUsedIsRefusedInWordsThatHelp(t *testing.T) {
	t.Parallel()
	one, other := issue(t, nil, authority), issue(t, nil, authority)
	certificate, key := one.pem(), one.keyPEM(t)
	sealed := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("hunter2")}))
	tests := map[string]struct {
		way  TLS
		says string
	}{
		"an authority that is no PEM":        {TLS{CA: "hunter2"}, "no certificate in PEM"},
		"an authority with garbage after it": {TLS{CA: certificate + "-----BEGIN CERTIFICATE-----\nhunter2"}, "not all of them"},
		"an authority cut short":             {TLS{CA: certificate[:len(certificate)/2]}, "no certificate in PEM"},
		"a key in place of an authority":     {TLS{CA: key}, "no certificate in PEM"},
		"a certificate of rubbish":           {TLS{CA: strings.ReplaceAll(certificate, "A", "B")}, "no certificate in PEM"},
		"a bundle that is too large":         {TLS{CA: strings.Repeat(certificate, 2000)}, "512 KiB"},
		"no key":                             {TLS{Certificate: certificate}, "both tls.crt and tls.key"},
		"no certificate":                     {TLS{Key: key}, "both tls.crt and tls.key"},
		"another's key":                      {TLS{Certificate: certificate, Key: other.keyPEM(t)}, "do not belong together"},
		"a key that is none":                 {TLS{Certificate: certificate, Key: "hunter2"}, "no private key in PEM"},
		"a key of rubbish":                   {TLS{Certificate: certificate, Key: strings.ReplaceAll(sealed, "ENCRYPTED ", "")}, "can not be read"},
		"a sealed key":                       {TLS{Certificate: certificate, Key: sealed}, "passphrase"},
		"key and certificate swapped":        {TLS{Certificate: key, Key: certificate}, "under tls.crt"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := aSource().WithTLS(test.way)
			got, ok := errors.AsType[*Error](err)
			if !ok || got.Reason != TLSFailed || !strings.Contains(got.Message, test.says) {
				t.Fatalf("got %v, want TLSFailed and %q", err, test.says)
			}
			if strings.Contains(fmt.Sprintf("%+v %v", got, got.Err), "hunter2") {
				t.Errorf("the error quotes what it was given: %v", got)
			}
		})
	}
}

func TestASourceWithTLSIsComparableAndPrintsNoKey(t *testing.T) {
	t.Parallel()
	client := issue(t, nil, nil)
	way := TLS{Mode: "require", Certificate: client.pem(), Key: client.keyPEM(t)}
	one, err := aSource().WithTLS(way)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := aSource().WithTLS(way); again != one {
		t.Error("the same source is not equal to itself")
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", one, one, one), fmt.Sprint([]any{&one})} {
		if strings.Contains(text, "PRIVATE") || strings.Contains(text, "BEGIN") {
			t.Errorf("printing a source shows its key: %s", text)
		}
	}
}

// writeReadable writes a file that PgBouncer may read.
func writeReadable(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What a server said before it went is heard, even if it went before it was written to.
func TestALastWordIsHeard(t *testing.T) {
	t.Parallel()
	server, arrived := listen(t), make(chan struct{})
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		<-arrived
		_, _ = conn.Write([]byte("N"))
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}()
	conn, err := (&Observer{}).dialer(new(attempt))(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	close(arrived)
	awaitReset(t, conn)
	if _, err := conn.Write([]byte("is anybody there?")); err != nil {
		t.Errorf("writing: %v", err)
	}
	word := make([]byte, 1)
	if n, err := conn.Read(word); n != 1 || word[0] != 'N' {
		t.Errorf("the last word: %q, %v", word[:n], err)
	}
}

// awaitReset waits until the kernel knows that the other side has ended the connection.
func awaitReset(t *testing.T, conn net.Conn) {
	t.Helper()
	heard, ok := conn.(*listener)
	if !ok {
		t.Fatalf("a %T", conn)
	}
	tcp, ok := heard.Conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", heard.Conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for state := uint8(unix.BPF_TCP_ESTABLISHED); state != unix.BPF_TCP_CLOSE; time.Sleep(time.Millisecond) {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				state = info.State
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
