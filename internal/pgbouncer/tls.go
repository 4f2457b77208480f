// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// TLSFiles is a pattern for the names of all that Files.TLS ever holds.
const TLSFiles = "*.pem"

// leastRSA is the shortest RSA key, in bits, that OpenSSL takes at its default security
// level. For the server PgBouncer reads the files only as it logs in, so a RELOAD would
// not tell. Source: SSL_CTX_set_security_level(3), PgBouncer's sbuf.c (sbuf_tls_connect).
const leastRSA = 2048

var clientTLSModes = append([]string{""}, tlsModes...)

func verifies(mode string) bool { return strings.HasPrefix(mode, "verify-") }

// material are the files of TLS by the settings that name them.
func (r Rendering) material() map[string]File {
	client, server := r.Config.ClientTLS, r.Config.Server
	files := map[string]File{}
	add := func(setting, data string) {
		if data != "" {
			sum := sha256.Sum256([]byte(data))
			name := strings.TrimSuffix(setting, "_file") + "-" + hex.EncodeToString(sum[:8]) + strings.TrimPrefix(TLSFiles, "*")
			files[setting] = File{path.Join(r.Paths.RunDir, name), []byte(data)}
		}
	}
	add("client_tls_cert_file", client.Certificate)
	add("client_tls_key_file", client.Key)
	add("server_tls_cert_file", server.Certificate)
	add("server_tls_key_file", server.Key)
	if verifies(client.Mode) {
		add("client_tls_ca_file", client.CA)
	} else if shown, ok := files["client_tls_cert_file"]; ok {
		// PgBouncer asks every client for a certificate all the same, and names the
		// authorities of this file: by default the system's, 13 KiB of each handshake.
		files["client_tls_ca_file"] = shown
	}
	if verifies(server.TLSMode) {
		add("server_tls_ca_file", server.CA)
	}
	return files
}

// ServerTLS are the files of TLS towards the server by libpq's names for them, for who
// logs in as PgBouncer does.
func (r Rendering) ServerTLS() map[string]string {
	material, settings := r.material(), r.settings()
	files := map[string]string{}
	for name, setting := range map[string]string{"sslrootcert": "server_tls_ca_file", "sslcert": "server_tls_cert_file", "sslkey": "server_tls_key_file"} {
		if path := cmp.Or(material[setting].Path, settings[setting]); path != "" {
			files[name] = path
		}
	}
	return files
}

func byPath(material map[string]File) map[string][]byte {
	files := map[string][]byte{}
	for _, file := range material {
		files[file.Path] = file.Data
	}
	return files
}

func validateClientTLS(t ClientTLS) error {
	if !slices.Contains(clientTLSModes, t.Mode) {
		return fmt.Errorf("the TLS mode for clients %q is none of %s", t.Mode, strings.Join(tlsModes, ", "))
	}
	var errs []error
	if t.Mode != "" && t.Mode != "disable" && t.Certificate == "" {
		errs = append(errs, fmt.Errorf("the TLS mode %s for clients needs a certificate and its key", t.Mode))
	}
	if verifies(t.Mode) && t.CA == "" {
		errs = append(errs, fmt.Errorf("the TLS mode %s for clients needs the authority that their certificates come from", t.Mode))
	}
	return errors.Join(append(errs,
		validatePair("shown to clients", t.Certificate, t.Key),
		validateAuthorities("for clients' certificates", t.CA))...)
}

func validateServerTLS(s Server) error {
	return errors.Join(
		validatePair("shown to the server", s.Certificate, s.Key),
		validateAuthorities("for the server's certificate", s.CA))
}

// validatePair quotes nothing of what it was given: a key may stand where a
// certificate should.
func validatePair(what, certificate, key string) error {
	if certificate == "" && key == "" {
		return nil
	}
	if certificate == "" || key == "" {
		return fmt.Errorf("the certificate %s and its key go together: one of them is missing", what)
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		return fmt.Errorf("the certificate %s and its key can not be used, both must be in PEM and belong together: %w", what, err)
	}
	for _, der := range pair.Certificate {
		link, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("the certificate %s is followed by one that can not be read: %w", what, err)
		}
		if key, ok := link.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < leastRSA {
			return fmt.Errorf("the certificate %s has a key of %d bits: an RSA key needs %d", what, key.N.BitLen(), leastRSA)
		}
	}
	return nil
}

func validateAuthorities(what, authorities string) error {
	found := false
	for rest := []byte(authorities); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("the authority %s holds a certificate that can not be read: %w", what, err)
		}
		found = true
	}
	if authorities != "" && !found {
		return fmt.Errorf("the authority %s holds no certificate in PEM", what)
	}
	return nil
}
