// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// api speaks to the API server as its administrator. These few calls do not
// need client-go, which would make this program ten times as large.
type api struct {
	server string
	client *http.Client
}

func (o Options) api() (*api, error) {
	ca, err := os.ReadFile(filepath.Join(o.pki(), "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's certificates: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(o.pki(), "admin.crt"), filepath.Join(o.pki(), "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's certificates: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &api{server: o.Cluster.Server(), client: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}}, nil
}

// get reads path into an object, or only asks for it if into is nil.
func (a *api) get(ctx context.Context, path string, into any) error {
	return a.do(ctx, http.MethodGet, path, "", nil, into)
}

// apply creates or updates an object by server-side apply.
func (a *api) apply(ctx context.Context, path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("applying %s: %w", path, err)
	}
	return a.do(ctx, http.MethodPatch, path+"?fieldManager=localcluster&force=true", "application/apply-patch+yaml", body, nil)
}

func (a *api) do(ctx context.Context, method, path, kind string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("asking for %s: %s: %.300s", path, answer.Status, content)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	return nil
}

// nodeReady returns an error that says why the node is not Ready. What was said
// before its kubelet's time, and is still on record, does not count.
func (a *api) nodeReady(ctx context.Context, name string, began time.Time) error {
	var n struct {
		Status struct {
			Conditions []struct {
				Type, Status, Message string
				LastHeartbeatTime     time.Time
			}
		}
	}
	if err := a.get(ctx, "/api/v1/nodes/"+name, &n); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status != "True" {
			return fmt.Errorf("%s is not Ready: %s", name, c.Message)
		}
		if c.LastHeartbeatTime.Before(began) {
			return a.leaseRenewed(ctx, name, began)
		}
		return nil
	}
	return fmt.Errorf("%s has no condition Ready yet", name)
}

// leaseRenewed is the other way in which a kubelet reports: a status that has
// not changed is not written again for minutes.
func (a *api) leaseRenewed(ctx context.Context, name string, began time.Time) error {
	var lease struct {
		Spec struct{ RenewTime time.Time }
	}
	if err := a.get(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+name, &lease); err != nil {
		return err
	}
	if lease.Spec.RenewTime.Before(began) {
		return fmt.Errorf("%s has not reported since it was started", name)
	}
	return nil
}

// dismissNodes removes the Nodes that an earlier run had more than present ones.
func (a *api) dismissNodes(ctx context.Context, present []plan.Node) error {
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := a.get(ctx, "/api/v1/nodes", &list); err != nil {
		return err
	}
	for _, item := range list.Items {
		name := item.Metadata.Name
		if slices.ContainsFunc(present, func(n plan.Node) bool { return n.Name == name }) {
			continue
		}
		if err := a.do(ctx, http.MethodDelete, "/api/v1/nodes/"+name, "", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

const rbac = "/apis/rbac.authorization.k8s.io/v1/"

// permitCoreDNS lets CoreDNS watch what it has names for.
func (a *api) permitCoreDNS(ctx context.Context) error {
	type object map[string]any
	meta := object{"name": "system:coredns"}
	role := object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta,
		"rules": []object{
			{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": []string{"list", "watch"}},
			{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": []string{"list", "watch"}},
		},
	}
	binding := object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta,
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}},
	}
	if err := a.apply(ctx, rbac+"clusterroles/system:coredns", role); err != nil {
		return err
	}
	return a.apply(ctx, rbac+"clusterrolebindings/system:coredns", binding)
}
