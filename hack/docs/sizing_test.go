// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// TestTheWorkedExampleIsWhatTheOperatorDoes divides the server of docs/sizing.md.
func TestTheWorkedExampleIsWhatTheOperatorDoes(t *testing.T) {
	page, err := Read(top, "docs/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(page.Prose, "\n")
	server := budget.Capacity{MaxConnections: 100, SuperuserReserved: 3}.Budget(budget.Reserve{})
	shop := budget.Claim{Key: budget.PoolKey{Namespace: "demo", Name: "shop"}, Weight: 300, Floor: 1, Replicas: 3}
	reports := budget.Claim{Key: budget.PoolKey{Namespace: "demo", Name: "reports"}, Weight: 100, Floor: 2, Replicas: 2}
	shares := budget.Shares(server.Connections, []budget.Claim{shop, reports})
	for _, want := range []string{
		fmt.Sprintf("max(5 %% of 100, 3) = %d", server.Direct),
		fmt.Sprintf("100 − 3 − 0 − %d = **%d**", server.Direct, server.Connections),
		fmt.Sprintf("%d · 300 / 400 = **%d**: %d for each of its three poolers", server.Connections, shares[shop.Key], shares[shop.Key]/3),
		fmt.Sprintf("%d · 100 / 400 = **%d**", server.Connections, shares[reports.Key]),
		fmt.Sprintf("borrows up to %d:", shares[reports.Key]-reports.Floor*reports.Replicas),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
