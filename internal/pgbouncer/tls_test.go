// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// withTLS is a configuration with all the material that there can be.
func withTLS(t *testing.T) pgbouncer.Config {
	t.Helper()
	toClients, toServer := testenv.NewCertificate(t, "pool.test"), testenv.NewCertificate(t, "client")
	return aConfig(func(c *pgbouncer.Config) {
		c.ClientTLS = pgbouncer.ClientTLS{
			Mode: "verify-full", Certificate: string(toClients.Certificate), Key: string(toClients.Key), CA: string(toClients.CA),
		}
		c.Server.TLSMode, c.Server.CA = "verify-full", string(toServer.CA)
		c.Server.Certificate, c.Server.Key = string(toServer.Certificate), string(toServer.Key)
	})
}

// named are the settings of an ini that name files of TLS.
func named(ini []byte) map[string]string {
	settings := map[string]string{}
	for line := range strings.Lines(string(ini)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && strings.Contains(name, "_tls_") && strings.HasSuffix(name, "_file") {
			settings[name] = value
		}
	}
	return settings
}

func TestTheMaterialOfTLSIsWrittenBeforeTheFileThatNamesIt(t *testing.T) {
	cfg, paths := withTLS(t), pgbouncer.Paths{RunDir: "/run/poolfleet", CAFile: "/roots.crt"}
	files, err := pgbouncer.Render(cfg, 5, paths)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for setting, path := range named(files.Ini) {
		content[setting] = string(files.TLS[path])
	}
	want := map[string]string{
		"client_tls_cert_file": cfg.ClientTLS.Certificate, "client_tls_key_file": cfg.ClientTLS.Key, "client_tls_ca_file": cfg.ClientTLS.CA,
		"server_tls_cert_file": cfg.Server.Certificate, "server_tls_key_file": cfg.Server.Key, "server_tls_ca_file": cfg.Server.CA,
	}
	if diff := cmp.Diff(want, content); diff != "" {
		t.Errorf("files by setting (-want +got):\n%s", diff)
	}
	order := files.InOrder(paths)
	if len(order) != 6+3 || order[len(order)-1].Path != paths.Ini() {
		t.Errorf("%d files, the last is %s", len(order), order[len(order)-1].Path)
	}
}

func TestAnotherCertificateHasAnotherName(t *testing.T) {
	cfg := withTLS(t)
	path := func() string {
		files, err := pgbouncer.Render(cfg, 5, pgbouncer.Paths{RunDir: "/run"})
		if err != nil {
			t.Fatal(err)
		}
		return named(files.Ini)["server_tls_ca_file"]
	}
	before := path()
	if again := path(); again != before {
		t.Errorf("the same authority is %s and %s", before, again)
	}
	cfg.Server.CA = string(testenv.NewCertificate(t, "other").CA)
	if path() == before {
		t.Error("PgBouncer would keep connections to servers that it does not trust any more")
	}
}

func TestWithoutAnAuthorityTheSystemsRootsAreTrusted(t *testing.T) {
	cfg := aConfig(func(c *pgbouncer.Config) { c.Server.TLSMode = "verify-ca" })
	for given, want := range map[string]string{"": "/etc/ssl/certs/ca-certificates.crt", "/roots.crt": "/roots.crt"} {
		files, err := pgbouncer.Render(cfg, 5, pgbouncer.Paths{RunDir: "/run", CAFile: given})
		if err != nil {
			t.Fatal(err)
		}
		if got := named(files.Ini)["server_tls_ca_file"]; got != want || len(files.TLS) > 0 {
			t.Errorf("server_tls_ca_file is %s, want %s; %d files", got, want, len(files.TLS))
		}
	}
}

func TestTLSThatCanNotWorkIsRefusedInWordsWithoutSecrets(t *testing.T) {
	other := testenv.NewCertificate(t, "other")
	shortCertificate, shortKey := aShortKey(t)
	unreadable := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hush")}))
	for want, change := range map[string]func(*pgbouncer.Config){
		"is none of disable":                              func(c *pgbouncer.Config) { c.ClientTLS.Mode = "on" },
		"needs a certificate":                             func(c *pgbouncer.Config) { c.ClientTLS = pgbouncer.ClientTLS{Mode: "prefer"} },
		"needs the authority":                             func(c *pgbouncer.Config) { c.ClientTLS.CA = "" },
		"one of them is missing":                          func(c *pgbouncer.Config) { c.ClientTLS.Key = "" },
		"shown to the server and its key go":              func(c *pgbouncer.Config) { c.Server.Certificate = "" },
		"private key does not match":                      func(c *pgbouncer.Config) { c.ClientTLS.Key = string(other.Key) },
		"shown to the server and its key can not be used": func(c *pgbouncer.Config) { c.Server.Key = string(other.Key) },
		"both must be in PEM":                             func(c *pgbouncer.Config) { c.ClientTLS.Certificate = c.ClientTLS.Key },
		"a key of 1024 bits":                              func(c *pgbouncer.Config) { c.Server.Certificate, c.Server.Key = shortCertificate, shortKey },
		"followed by one that can not be read":            func(c *pgbouncer.Config) { c.Server.Certificate += unreadable },
		"for clients' certificates holds no":              func(c *pgbouncer.Config) { c.ClientTLS.CA = c.ClientTLS.Key },
		"for the server's certificate holds no":           func(c *pgbouncer.Config) { c.Server.CA = "hush-hush" },
		"that can not be read": func(c *pgbouncer.Config) {
			c.Server.CA += unreadable
		},
	} {
		cfg := withTLS(t)
		change(&cfg)
		err := pgbouncer.Validate(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
			continue
		}
		for _, secret := range cfg.Secrets() {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("a secret is in the error: %v", err)
			}
		}
	}
	if err := pgbouncer.Validate(withTLS(t)); err != nil {
		t.Errorf("the configuration they differ from: %v", err)
	}
}

// aShortKey is a certificate with an RSA key of 1024 bits.
func aShortKey(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
}

func TestPrintingAConfigurationShowsNoSecret(t *testing.T) {
	cfg := withTLS(t)
	cfg.Lookup = aLookup()
	for _, format := range []string{"%v", "%+v", "%s"} {
		text := fmt.Sprintf(format, cfg)
		for _, secret := range append(cfg.Secrets(), "hush") {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", format, text)
			}
		}
	}
}

func TestSecretsAreAllThatMustNotBeShown(t *testing.T) {
	cfg := withTLS(t)
	cfg.Lookup = aLookup()
	secrets := cfg.Secrets()
	for _, password := range []string{"hush-hush", "hush-too", "hush-finder"} {
		if !slices.Contains(secrets, password) {
			t.Errorf("%s is not among them", password)
		}
	}
	for _, key := range []string{cfg.ClientTLS.Key, cfg.Server.Key} {
		for _, secret := range secrets {
			key = strings.ReplaceAll(key, secret, "")
		}
		if want := "-----BEGIN PRIVATE KEY-----\n\n\n\n-----END PRIVATE KEY-----\n"; key != want {
			t.Errorf("without the secrets a key is %q", key)
		}
	}
}
