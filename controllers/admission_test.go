// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/onsi/gomega"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// queryHas waits until the poolers' connect query holds a text.
func queryHas(t *testing.T, pool *poolv1.ConnectionPool, text string) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(configOf(t, pool).PgBouncer.ConnectQuery).To(gomega.ContainSubstring(text))
	})
}

// loginAs plays a server that is reached by another name as another role.
func loginAs(t *testing.T, host, first string, role uint32) string {
	t.Helper()
	o := observed(first, 100)
	o.RoleOID = role
	servers.set(host+":5432", answer{observation: o})
	return host
}

func TestALowerCeilingHoldsTheRolesOfAllPoolsAtTheServer(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	first := serve(t, ns, "first", loginAs(t, host, host, 20001))
	u := upstreamFor(t, first, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Capacity.Direct).NotTo(gomega.BeNil())
	})
	queryHas(t, first, "+8-int4(")
	change(t, u, func() { u.Spec.MaxServerConnections = 40 })
	queryHas(t, first, "count(usesysid in(20001)or null)-40)")

	second := serve(t, ns, "second", loginAs(t, "alias."+host, host, 20002))
	queryHas(t, second, "count(usesysid in(20001,20002)or null)-40)")
	queryHas(t, first, "count(usesysid in(20001,20002)or null)-40)")

	change(t, u, func() { u.Spec.MaxServerConnections = 0 })
	eventually(t, func(g gomega.Gomega) {
		g.Expect(configOf(t, first).PgBouncer.ConnectQuery).NotTo(gomega.ContainSubstring("greatest("))
	})
}
