// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
)

// TLS is what is said of the way to a server beside its URL.
type TLS struct {
	// Mode is an sslmode; empty leaves it to CA, and then to the URL.
	Mode string
	// CA holds the authorities to trust, in PEM; empty is those of the system.
	CA string
	// Certificate and Key are shown to the server, in PEM; both or neither.
	Certificate, Key string
}

// maxMaterial bounds what of TLS travels to every pooler, in bytes: an object of
// Kubernetes holds a mebibyte, and the largest bundle of a cloud has a fifth of one.
const maxMaterial = 512 << 10

// WithTLS returns the source as another word on TLS makes it. Its mode counts more
// than the URL's, and a CA without a mode asks for verify-full. Neither makes it
// weaker than require for a host outside the cluster, unless the mode is disable.
//
// Errors are *Error with the reason TLSFailed.
func (s Source) WithTLS(way TLS) (Source, error) {
	mode := way.Mode
	if mode == "" && way.CA != "" {
		mode = tlsVerifyFull
	}
	if mode != "" {
		var err error
		if s.TLSMode, err = (tlsWish{mode: mode}).forHost(s.Host); err != nil {
			return Source{}, err
		}
	}
	s.CA, s.Certificate, s.Key = way.CA, way.Certificate, way.Key
	return s, s.checkTLS()
}

// checkTLS refuses what PgBouncer or the server would, in words that help.
func (s Source) checkTLS() error {
	switch {
	case len(s.CA)+len(s.Certificate)+len(s.Key) > maxMaterial:
		return unusable("the authorities, the client certificate and its key are larger than 512 KiB together: " +
			"leave out the authorities that do not sign for this server")
	case s.CA != "" && !holdsCertificates(s.CA):
		return unusable("the authority to trust is no certificate in PEM, or not all of them are: put CERTIFICATE blocks there, one after another")
	case (s.Certificate == "") != (s.Key == ""):
		return unusable("the client certificate needs both tls.crt and tls.key")
	case s.Certificate == "":
		return nil
	case !holdsCertificates(s.Certificate):
		return unusable("the client certificate is no certificate in PEM: put it under tls.crt as a CERTIFICATE block, those that signed it after it")
	}
	return s.checkKey()
}

func (s Source) checkKey() error {
	_, err := tls.X509KeyPair([]byte(s.Certificate), []byte(s.Key))
	block, _ := pem.Decode([]byte(s.Key))
	switch {
	case err == nil:
		return nil
	case block != nil && (strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != ""):
		return unusable("the client certificate's key is protected by a passphrase: put it under tls.key without one")
	case block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return unusable("the client certificate's key is no private key in PEM: put it under tls.key")
	}
	return unusable("the client certificate and its key do not belong together, or the key can not be read: put both of one pair under tls.crt and tls.key")
}

// unusable is an error without a cause: causes may quote a key.
func unusable(message string) *Error { return &Error{Reason: TLSFailed, Message: message} }

// holdsCertificates reports whether a text has certificates in PEM, and nothing
// else in PEM: OpenSSL stops at the first block that it can not read.
func holdsCertificates(text string) bool {
	rest, found := []byte(text), false
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found && !strings.Contains(string(rest), "-----BEGIN")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return false
		}
		found = true
	}
}

// plainIsFine reports whether a mode goes on in plain text where the server
// does not speak TLS. PgBouncer takes allow for prefer, and so does the Observer.
// Source: PgBouncer setting server_tls_sslmode.
func plainIsFine(mode string) bool { return mode == tlsAllow || mode == tlsPrefer }

// tlsConfig checks as much of the server's certificate as the mode says. Like
// PgBouncer, require encrypts and checks nothing.
// Source: PostgreSQL docs, 32.19.3 "Protection Provided in Different Modes".
func (o *Observer) tlsConfig(source Source) *tls.Config {
	config := &tls.Config{
		ServerName: strings.TrimSuffix(source.Host, "."), // Sent as SNI in every mode: Neon routes by it.
		MinVersion: tls.VersionTLS12,
		// What is checked is checked by VerifyConnection, as OpenSSL does it.
		InsecureSkipVerify: true, //nolint:gosec // Only crypto/tls's own check is.
	}
	if source.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(source.Certificate), []byte(source.Key))
		if err == nil { // WithTLS lets no other through.
			// Shown whoever the server says that it trusts, as OpenSSL does.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
	}
	roots := o.options.RootCAs
	if source.CA != "" {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(source.CA))
	}
	if source.TLSMode == tlsVerifyCA || source.TLSMode == tlsVerifyFull {
		config.VerifyConnection = func(state tls.ConnectionState) error {
			err := verifyAuthority(state.PeerCertificates, roots)
			if err == nil && source.TLSMode == tlsVerifyFull {
				err = verifyName(state.PeerCertificates[0], config.ServerName)
			}
			if err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
			}
			return nil
		}
	}
	return config
}

// verifyAuthority checks who signed a certificate, not for which name. As OpenSSL
// has it, an authority counts only up to one that has signed itself.
func verifyAuthority(presented []*x509.Certificate, roots *x509.CertPool) error {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, certificate := range presented[1:] {
		options.Intermediates.AddCert(certificate)
	}
	chains, err := presented[0].Verify(options)
	if err != nil {
		return err
	}
	whole := slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		root := chain[len(chain)-1]
		return string(root.RawIssuer) == string(root.RawSubject)
	})
	if !whole {
		return x509.UnknownAuthorityError{Cert: presented[0]}
	}
	return nil
}

// verifyName checks that a certificate is for a host. PgBouncer goes by the common
// name, too, where no other name fits. Source: libusual's tls_check_servername.
func verifyName(certificate *x509.Certificate, host string) error {
	err := certificate.VerifyHostname(host)
	if err == nil || certificate.Subject.CommonName == "" {
		return err
	}
	byCommonName := &x509.Certificate{DNSNames: []string{certificate.Subject.CommonName}}
	if certificate.Subject.CommonName == host || byCommonName.VerifyHostname(host) == nil {
		return nil
	}
	return err
}
