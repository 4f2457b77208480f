// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package claims_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
)

func TestAFloorIsOneForEachDatabase(t *testing.T) {
	pool := poolv1.ConnectionPool{Spec: poolv1.ConnectionPoolSpec{
		Replicas: new(int32(3)), Databases: []poolv1.PooledDatabase{{Name: "a"}, {Name: "b"}},
	}}
	pool.Status.Upstream = poolv1.ResolvedUpstream{Role: "app", RoleConnectionLimit: new(int32(40))}
	want := []budget.Claim{{Weight: 100, Floor: 2, Replicas: 3, RoleLimit: &budget.Limit{Key: "app", Connections: 40}}}
	if diff := cmp.Diff(want, claims.Of(nil, []poolv1.ConnectionPool{pool})); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestAPoolThatMayNotUseTheServerClaimsNothing(t *testing.T) {
	upstream := &poolv1.Upstream{Spec: poolv1.UpstreamSpec{
		AllowedNamespaces: []string{"shop"}, Namespaces: []poolv1.NamespaceClaim{{Name: "shop", Weight: 300, Maximum: 40}},
	}}
	in := func(namespace string) poolv1.ConnectionPool {
		return poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api"}}
	}
	leaving := in("shop")
	leaving.Name, leaving.DeletionTimestamp = "old", &metav1.Time{Time: time.Unix(1, 0)}
	want := []budget.Claim{{
		Key: budget.PoolKey{Namespace: "shop", Name: "api"}, Weight: 100, Floor: 1, Replicas: 2,
		Namespace: budget.NamespaceRule{Weight: 300, Maximum: 40},
	}}
	if diff := cmp.Diff(want, claims.Of(upstream, []poolv1.ConnectionPool{in("shop"), in("crm"), leaving})); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}
