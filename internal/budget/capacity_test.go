// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/budget"
)

func TestBudget(t *testing.T) {
	capacity := func(n, superuser, reserved int32) budget.Capacity {
		return budget.Capacity{MaxConnections: n, SuperuserReserved: superuser, Reserved: reserved}
	}
	for _, tt := range []struct {
		name     string
		capacity budget.Capacity
		reserve  budget.Reserve
		want     budget.Budget
	}{
		{"by default 5 % are left to others", capacity(100, 3, 0), budget.Reserve{}, budget.Budget{Direct: 5, Withheld: 8, Connections: 92}},
		{"the default rounds up", capacity(101, 3, 0), budget.Reserve{}, budget.Budget{Direct: 6, Withheld: 9, Connections: 92}},
		{"the default is at least 3", capacity(25, 3, 0), budget.Reserve{}, budget.Budget{Direct: 3, Withheld: 6, Connections: 19}},
		{"reserved_connections come off too", capacity(100, 3, 4), budget.Reserve{}, budget.Budget{Direct: 5, Withheld: 12, Connections: 88}},
		{"a number given is taken", capacity(100, 3, 0), budget.Reserve{Direct: new(int32(20))}, budget.Budget{Direct: 20, Withheld: 23, Connections: 77}},
		{"a number given may be below the default, but not below 2", capacity(100, 3, 0), budget.Reserve{Direct: new(int32(1))}, budget.Budget{Direct: 2, Withheld: 5, Connections: 95}},
		{"a percentage given rounds up", capacity(90, 3, 0), budget.Reserve{DirectPercent: new(int32(10))}, budget.Budget{Direct: 9, Withheld: 12, Connections: 78}},
		{"0 % is 2", capacity(90, 3, 0), budget.Reserve{DirectPercent: new(int32(0))}, budget.Budget{Direct: 2, Withheld: 5, Connections: 85}},
		{"a ceiling holds", capacity(100, 3, 0), budget.Reserve{MaxServerConnections: new(int32(40))}, budget.Budget{Direct: 5, Withheld: 8, Connections: 40}},
		{"a ceiling above what is there changes nothing", capacity(100, 3, 0), budget.Reserve{MaxServerConnections: new(int32(400))}, budget.Budget{Direct: 5, Withheld: 8, Connections: 92}},
		{"a server smaller than what is withheld leaves nothing", capacity(5, 3, 0), budget.Reserve{}, budget.Budget{Direct: 3, Withheld: 6, Connections: 0}},
		{"the largest server does not overflow", capacity(262143, 3, 0), budget.Reserve{DirectPercent: new(int32(99))}, budget.Budget{Direct: 259522, Withheld: 259525, Connections: 2618}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.capacity.Budget(tt.reserve)); diff != "" {
				t.Errorf("budget (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeclaredBudget(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reserve budget.Reserve
		want    budget.Budget
	}{
		{"is what pools may take together, with no default taken off", budget.Reserve{}, budget.Budget{Connections: 60}},
		{"leaves to others what the administrator says in so many words", budget.Reserve{Direct: new(int32(10))}, budget.Budget{Direct: 10, Withheld: 10, Connections: 50}},
		{"takes a percentage of the number declared", budget.Reserve{DirectPercent: new(int32(5))}, budget.Budget{Direct: 3, Withheld: 3, Connections: 57}},
		{"keeps the administrator's ceiling", budget.Reserve{MaxServerConnections: new(int32(40))}, budget.Budget{Connections: 40}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, budget.Declared(60, tt.reserve)); diff != "" {
				t.Errorf("budget (-want +got):\n%s", diff)
			}
		})
	}
}
