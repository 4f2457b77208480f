// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/internal/contract"
)

func TestAPodThatDoesNotSeeItsConfigurationIsNudged(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	pool, other := serve(t, ns, "nudged", host), serve(t, ns, "left-alone", host)
	behind, current := podOf(t, pool, "behind"), podOf(t, other, "current")
	grantOf(t, current, 46)
	grantOf(t, behind, 46)
	pods.setSaid(behind, func(s *contract.Status) { s.Config = "of before" })
	signals.Upstream(t.Context(), pool.Status.Upstream.Name)

	const annotation = "poolfleet.dev/nudge"
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(behind), behind)).To(gomega.Succeed())
		g.Expect(behind.Annotations).To(gomega.HaveKey(annotation))
	})
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(current), current); err != nil {
		t.Fatal(err)
	}
	if _, nudged := current.Annotations[annotation]; nudged {
		t.Error("a pod that runs its configuration was nudged")
	}
}
