// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func TestTheAPIServerRefusesWithWordsThatHelp(t *testing.T) {
	ns := namespace(t)
	pool := func(change func(*poolv1.ConnectionPool)) client.Object { return aPool(ns, "refused", change) }
	upstream := func(change func(*poolv1.Upstream)) client.Object {
		u := &poolv1.Upstream{ObjectMeta: metav1.ObjectMeta{Name: "refused"}}
		change(u)
		return u
	}
	cases := map[string]struct {
		object client.Object
		words  string
	}{
		"no secret": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Upstream.SecretRef = poolv1.UpstreamSecretReference{Key: "url"} }), "spec.upstream.secretRef.name: Required value",
		},
		"a name too long for what is made from it": {
			pool(func(p *poolv1.ConnectionPool) { p.Name = strings.Repeat("a", 53) }), "at most 52 characters",
		},
		"a name that no Service can have": {
			pool(func(p *poolv1.ConnectionPool) { p.Name = "my.pool" }), "the Service is named after it",
		},
		"a database named as PgBouncer's console": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Databases = []poolv1.PooledDatabase{{Name: "pgbouncer"}} }),
			"PgBouncer keeps that name for its console",
		},
		"a wildcard for a database": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Databases = []poolv1.PooledDatabase{{Name: "*"}} }),
			"name must start with a letter, a digit or _",
		},
		"one database twice": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Databases = []poolv1.PooledDatabase{{Name: "a"}, {Name: "a"}} }), "Duplicate",
		},
		"an unknown mode": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Mode = "transaction" }), `supported values: "Session", "Transaction", "Statement"`,
		},
		"a weight below 1": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.ServerConnections.Weight = -1 }), "greater than or equal to 1",
		},
		"a minimum above the maximum": {
			pool(func(p *poolv1.ConnectionPool) {
				p.Spec.ServerConnections = poolv1.ServerConnections{Minimum: 5, Maximum: 4}
			}), "lower the one or raise the other",
		},
		"a namespace of which nothing is said": {
			upstream(func(u *poolv1.Upstream) { u.Spec.Namespaces = []poolv1.NamespaceClaim{{Name: "shop"}} }), "name a weight, a maximum or both",
		},
		"a load balancer's setting without one": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Service.LoadBalancerClass = "x" }), "loadBalancerClass needs type: LoadBalancer",
		},
		"peers of a network policy that is off": {
			pool(func(p *poolv1.ConnectionPool) {
				p.Spec.NetworkPolicy = poolv1.PoolNetworkPolicy{
					Mode: poolv1.NetworkPolicyDisabled, From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}},
				}
			}), "set mode: Enabled or leave from out",
		},
		"the gateway before poolers that ask for certificates": {
			pool(func(p *poolv1.ConnectionPool) {
				p.Spec.Edge.Mode = poolv1.EdgeEnabled
				p.Spec.TLS = poolv1.ClientTLS{Mode: poolv1.ClientTLSVerifyFull, ClientCASecretRef: poolv1.SecretKeyReference{Name: "ca"}}
			}), "the gateway has no certificate to show",
		},
		"a name that is the gateway's own": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Edge = poolv1.PoolEdge{Mode: poolv1.EdgeEnabled, Name: "api"} }), "choose another",
		},
		"the poolers' own Secret for the published one": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Secret.Name = "refused-pooler" }), "the poolers' own Secret has that name",
		},
		"the upstream's Secret for the published one": {
			pool(func(p *poolv1.ConnectionPool) { p.Spec.Secret.Name = "refused-db" }), "choose another name for the published one",
		},
		"too few direct connections": {
			upstream(func(u *poolv1.Upstream) { u.Spec.DirectConnections = new(intstr.FromInt32(1)) }), "at least 2",
		},
		"direct connections that are no number": {
			upstream(func(u *poolv1.Upstream) { u.Spec.DirectConnections = new(intstr.FromString("many")) }), "a percentage from 0% to 99%",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := api.Create(t.Context(), c.object)
			if err == nil {
				t.Fatal("the API server took it")
			}
			if !strings.Contains(err.Error(), c.words) {
				t.Errorf("the refusal does not say %q:\n%v", c.words, err)
			}
		})
	}
}

func TestAWeightOf0IsRefused(t *testing.T) {
	spec := map[string]any{"upstream": map[string]any{"secretRef": map[string]any{"name": "x"}}, "serverConnections": map[string]any{"weight": int64(0)}}
	pool := map[string]any{
		"apiVersion": "poolfleet.dev/v1alpha1", "kind": "ConnectionPool",
		"metadata": map[string]any{"namespace": namespace(t), "name": "weightless"}, "spec": spec,
	}
	upstream := map[string]any{
		"apiVersion": "poolfleet.dev/v1alpha1", "kind": "Upstream", "metadata": map[string]any{"name": "weightless"},
		"spec": map[string]any{"namespaces": []any{map[string]any{"name": "shop", "weight": int64(0)}}},
	}
	for _, object := range []map[string]any{pool, upstream} {
		err := api.Create(t.Context(), &unstructured.Unstructured{Object: object})
		if err == nil || !strings.Contains(err.Error(), "weight in body should be greater than or equal to 1") {
			t.Errorf("%s: got %v", object["kind"], err)
		}
	}
}

func TestAnUnknownFieldIsSaid(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "poolfleet.dev/v1alpha1", "kind": "ConnectionPool",
		"metadata": map[string]any{"namespace": namespace(t), "name": "typo"},
		"spec":     map[string]any{"upstream": map[string]any{"secretRef": map[string]any{"name": "x"}}, "replica": int64(3)},
	}}
	err := client.WithFieldValidation(api, metav1.FieldValidationStrict).Create(t.Context(), u)
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.replica"`) {
		t.Errorf("got %v", err)
	}
}

func TestDefaultsAreFew(t *testing.T) {
	pool := aPool(namespace(t), "plain")
	create(t, pool)
	spec := poolv1.ConnectionPoolSpec{
		Upstream: poolv1.UpstreamSource{
			SecretRef: poolv1.UpstreamSecretReference{Name: "plain-db"}, Probe: poolv1.ProbeAlways, TargetSessionAttributes: poolv1.TargetReadWrite,
		},
		Mode: poolv1.PoolModeTransaction, Replicas: new(int32(2)), State: poolv1.PoolRunning,
	}
	if diff := cmp.Diff(spec, pool.Spec); diff != "" {
		t.Errorf("spec after creation (-want +got):\n%s", diff)
	}
}
