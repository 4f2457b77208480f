// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package pki makes a cluster's certificate authorities, certificates and
// kubeconfigs, laid out as kubeadm does. It reads and writes only the directory
// it is given, and keeps what is already there.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is long enough that no one meets an expired cluster.
const lifetime = 10 * 365 * 24 * time.Hour

// Authority is a certificate authority kept in a directory.
type Authority struct {
	dir  string
	name string
	cert *x509.Certificate
	key  crypto.Signer
}

// Request is what a certificate is to say.
type Request struct {
	Name   string // file name without suffix
	Common string
	Groups []string
	Usage  x509.ExtKeyUsage
	DNS    []string
	IPs    []net.IP
}

// OpenAuthority reads the authority of that name from dir, or makes it.
func OpenAuthority(dir, name, common string) (*Authority, error) {
	a := &Authority{dir: dir, name: name}
	err := a.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = a.create(common)
	}
	if err != nil {
		return nil, fmt.Errorf("opening certificate authority %s: %w", name, err)
	}
	return a, nil
}

func (a *Authority) read() error {
	cert, err := readPEM(filepath.Join(a.dir, a.name+".crt"))
	if err != nil {
		return err
	}
	key, err := readPEM(filepath.Join(a.dir, a.name+".key"))
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return errors.New("its key cannot sign")
	}
	a.key = signer
	return nil
}

func (a *Authority) create(common string) error {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: common},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := NewKey(a.dir, a.name)
	if err != nil {
		return err
	}
	a.cert, a.key = template, key
	return a.sign(template, key.Public(), a.name)
}

// Issue writes NAME.crt and NAME.key unless both are there already.
func (a *Authority) Issue(r Request) error {
	if exists(a.dir, r.Name+".crt") && exists(a.dir, r.Name+".key") {
		return nil
	}
	key, err := NewKey(a.dir, r.Name)
	if err != nil {
		return fmt.Errorf("issuing certificate %s: %w", r.Name, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.Common, Organization: r.Groups},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{r.Usage},
		BasicConstraintsValid: true,
		DNSNames:              r.DNS,
		IPAddresses:           r.IPs,
	}
	if err := a.sign(template, key.Public(), r.Name); err != nil {
		return fmt.Errorf("issuing certificate %s: %w", r.Name, err)
	}
	return nil
}

func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey, name string) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	// An hour back, so that a clock that is set right meanwhile does no harm.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.Add(lifetime)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return err
	}
	if template == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	return writePEM(filepath.Join(a.dir, name+".crt"), "CERTIFICATE", der, 0o644)
}

// NewKey writes a new P-256 key to NAME.key in dir.
func NewKey(dir, name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", der, 0o600)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func readPEM(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}

// writePEM replaces the file as a whole, so that an interrupted run leaves no half.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (a *Authority) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}
