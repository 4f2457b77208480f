// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

func TestALargerBudgetWaitsForPoolersToLetItIn(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	one, two := serve(t, ns, "grows", host), serve(t, ns, "checks", host)
	first, second := podOf(t, one, "grows-a"), podOf(t, two, "checks-a")
	grantOf(t, first, 46)
	upstream := upstreamFor(t, one, func(gomega.Gomega, *poolv1.Upstream) {})
	change(t, upstream, func() { upstream.Spec.MaxServerConnections = 40 })
	grantOf(t, first, 20)
	grantOf(t, second, 20)

	// The second pooler says that it still checks its logins as before.
	config := ""
	pods.setSaid(second, func(s *contract.Status) {
		if config == "" {
			config = s.Config
		}
		s.Config = config
	})
	eventually(t, func(g gomega.Gomega) {
		signals.Upstream(t.Context(), upstream.Name)
		g.Expect(config).NotTo(gomega.BeEmpty())
	})
	change(t, upstream, func() { upstream.Spec.MaxServerConnections = 80 })
	eventually(t, func(g gomega.Gomega) { // It is known, and nothing is granted yet.
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(upstream), upstream)).To(gomega.Succeed())
		g.Expect(upstream.Status.Capacity.Budget).To(gomega.HaveValue(gomega.BeEquivalentTo(80)))
	})
	for _, entry := range upstream.Status.Ledger {
		if *entry.Granted != 20 {
			t.Errorf("pod %s was granted %d before every pooler lets so many in", entry.Pod, *entry.Granted)
		}
	}
	pods.setSaid(second, nil)
	grantOf(t, first, 40)
	grantOf(t, second, 40)
}
