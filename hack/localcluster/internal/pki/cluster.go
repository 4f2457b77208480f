// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// MakeCluster writes what the control plane needs into dir: ca, front-proxy-ca,
// sa.key and sa.pub, the components' certificates, and NAME.kubeconfig for admin,
// controller-manager, scheduler and coredns.
func MakeCluster(dir string, c plan.Cluster) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	ca, err := OpenAuthority(dir, "ca", "kubernetes-ca")
	if err != nil {
		return err
	}
	front, err := OpenAuthority(dir, "front-proxy-ca", "front-proxy-ca")
	if err != nil {
		return err
	}
	if err := makeServiceAccountKey(dir); err != nil {
		return fmt.Errorf("making the ServiceAccount key: %w", err)
	}
	if err := front.Issue(Request{Name: "front-proxy-client", Common: "front-proxy-client", Usage: x509.ExtKeyUsageClientAuth}); err != nil {
		return err
	}
	if err := ca.Issue(apiServer(c)); err != nil {
		return err
	}
	for _, client := range clients() {
		if err := ca.IssueClient(client, c.Server()); err != nil {
			return err
		}
	}
	return nil
}

func apiServer(c plan.Cluster) Request {
	return Request{
		Name: "apiserver", Common: "kube-apiserver", Usage: x509.ExtKeyUsageServerAuth,
		DNS: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local", c.Node(0).Name,
		},
		IPs: []net.IP{
			net.IPv4(127, 0, 0, 1), c.APIServiceIP().AsSlice(), c.Node(0).IP.AsSlice(),
		},
	}
}

// clients are the users of the API server. Only admin, and the API server
// itself towards the kubelets, may do everything.
func clients() []Request {
	return []Request{
		{Name: "admin", Common: "admin", Groups: []string{"system:masters"}},
		{Name: "apiserver-kubelet-client", Common: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
		{Name: "controller-manager", Common: "system:kube-controller-manager"},
		{Name: "scheduler", Common: "system:kube-scheduler"},
		{Name: "coredns", Common: "system:coredns"},
	}
}

// MakeNode writes what a node may know into dir: ca.crt, its kubelet-server
// certificate, kubelet.kubeconfig, by which the Node authorizer knows it, and
// proxy.kubeconfig. The cluster's authority is in the directory ca.
func MakeNode(ca string, dir string, c plan.Cluster, n plan.Node) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making certificates of %s: %w", n.Name, err)
	}
	authority, err := OpenAuthority(ca, "ca", "kubernetes-ca")
	if err != nil {
		return err
	}
	authority.dir = dir
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", authority.cert.Raw, 0o644); err != nil {
		return fmt.Errorf("making certificates of %s: %w", n.Name, err)
	}
	err = authority.Issue(Request{
		Name: "kubelet-server", Common: n.Name, Usage: x509.ExtKeyUsageServerAuth,
		DNS: []string{n.Name}, IPs: []net.IP{n.IP.AsSlice(), net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		return err
	}
	err = authority.IssueClient(Request{
		Name: "kubelet", Common: "system:node:" + n.Name, Groups: []string{"system:nodes"},
	}, c.Server())
	if err != nil {
		return err
	}
	return authority.IssueClient(Request{Name: "proxy", Common: "system:kube-proxy"}, c.Server())
}

// IssueClient issues a client certificate and writes NAME.kubeconfig around it.
func (a *Authority) IssueClient(r Request, server string) error {
	r.Usage = x509.ExtKeyUsageClientAuth
	if err := a.Issue(r); err != nil {
		return err
	}
	return a.writeKubeconfig(r.Name, server)
}

var kubeconfig = template.Must(template.New("kubeconfig").Parse(`apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: {{.Server}}
    certificate-authority-data: {{.CA}}
users:
- name: {{.User}}
  user:
    client-certificate-data: {{.Cert}}
    client-key-data: {{.Key}}
contexts:
- name: local
  context:
    cluster: local
    user: {{.User}}
current-context: local
`))

func (a *Authority) writeKubeconfig(name, server string) error {
	cert, err := os.ReadFile(filepath.Join(a.dir, name+".crt"))
	if err != nil {
		return fmt.Errorf("writing %s.kubeconfig: %w", name, err)
	}
	key, err := os.ReadFile(filepath.Join(a.dir, name+".key"))
	if err != nil {
		return fmt.Errorf("writing %s.kubeconfig: %w", name, err)
	}
	out, err := os.OpenFile(filepath.Join(a.dir, name+".kubeconfig"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s.kubeconfig: %w", name, err)
	}
	defer out.Close()
	return kubeconfig.Execute(out, map[string]string{
		"Server": server, "User": name, "CA": encode(a.certPEM()), "Cert": encode(cert), "Key": encode(key),
	})
}

func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func makeServiceAccountKey(dir string) error {
	if exists(dir, "sa.key") && exists(dir, "sa.pub") {
		return nil
	}
	key, err := NewKey(dir, "sa")
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", der, 0o644)
}
