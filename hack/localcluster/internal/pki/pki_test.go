// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

func TestCertificatesAreTakenForWhatTheyAreMadeFor(t *testing.T) {
	dir, own, c := t.TempDir(), t.TempDir(), plan.Cluster{Number: 3}
	makeAll(t, dir, own, c)
	for _, test := range []struct {
		name, dir, authority, host string
		usage                      x509.ExtKeyUsage
	}{
		{"apiserver", dir, "ca", c.Node(0).IP.String(), x509.ExtKeyUsageServerAuth},
		{"apiserver", dir, "ca", c.APIServiceIP().String(), x509.ExtKeyUsageServerAuth},
		{"apiserver", dir, "ca", "kubernetes.default.svc", x509.ExtKeyUsageServerAuth},
		{"kubelet-server", own, "ca", c.Node(1).IP.String(), x509.ExtKeyUsageServerAuth},
		{"kubelet", own, "ca", "", x509.ExtKeyUsageClientAuth},
		{"admin", dir, "ca", "", x509.ExtKeyUsageClientAuth},
		{"front-proxy-client", dir, "front-proxy-ca", "", x509.ExtKeyUsageClientAuth},
	} {
		cert := load(t, test.dir, test.name)
		if _, err := cert.Verify(x509.VerifyOptions{
			Roots: pool(t, dir, test.authority), DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{test.usage},
		}); err != nil {
			t.Errorf("%s for %q: %v", test.name, test.host, err)
		}
	}
}

func TestOneAuthoritysClientIsNothingToTheOther(t *testing.T) {
	dir := t.TempDir()
	makeAll(t, dir, t.TempDir(), plan.Cluster{Number: 1})
	_, err := load(t, dir, "admin").Verify(x509.VerifyOptions{Roots: pool(t, dir, "front-proxy-ca"), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil {
		t.Error("the front proxy's authority vouches for admin")
	}
}

func TestAKubeletIsKnownAsItsNode(t *testing.T) {
	dir, own := t.TempDir(), t.TempDir()
	makeAll(t, dir, own, plan.Cluster{Number: 1})
	subject := load(t, own, "kubelet").Subject
	if subject.CommonName != "system:node:node-1" || !cmp.Equal(subject.Organization, []string{"system:nodes"}) {
		t.Errorf("it is %s", subject)
	}
}

func TestMakingAgainChangesNothing(t *testing.T) {
	dir, own := t.TempDir(), t.TempDir()
	makeAll(t, dir, own, plan.Cluster{Number: 1})
	before := contents(t, dir, own)
	makeAll(t, dir, own, plan.Cluster{Number: 1})
	if diff := cmp.Diff(before, contents(t, dir, own)); diff != "" {
		t.Error(diff)
	}
}

func TestKeysAndKubeconfigsAreTheirOwnersAlone(t *testing.T) {
	dir, own := t.TempDir(), t.TempDir()
	makeAll(t, dir, own, plan.Cluster{Number: 1})
	for path := range contents(t, dir, own) {
		secret := strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".kubeconfig")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if secret && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
	}
}

func makeAll(t *testing.T, dir, own string, c plan.Cluster) {
	t.Helper()
	if err := MakeCluster(dir, c); err != nil {
		t.Fatal(err)
	}
	if err := MakeNode(dir, own, c, c.Node(1)); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func pool(t *testing.T, dir, name string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots
}

func contents(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found[path] = string(content)
		}
	}
	return found
}
