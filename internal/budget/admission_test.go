// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"strings"
	"testing"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// newRoles are as a server numbers the first roles that people make.
func newRoles(n int) []uint32 {
	var roles []uint32
	for i := range n {
		roles = append(roles, 16384+uint32(i))
	}
	return roles
}

func TestTheQueriesFitPgBouncersFileAndItsMessages(t *testing.T) {
	const most = 262143 // The highest max_connections that PostgreSQL takes.
	for _, query := range []string{
		budget.ResetQuery(),
		budget.AdmissionQuery(budget.Admission{Withheld: most}),
		budget.AdmissionQuery(budget.Admission{Withheld: most, Ceiling: most}),
		budget.AdmissionQuery(budget.Admission{Withheld: most, Ceiling: most, Roles: newRoles(1)}),
		budget.AdmissionQuery(budget.Admission{Withheld: most, Ceiling: most, Roles: newRoles(100)}),
		budget.AdmissionQuery(budget.Admission{Withheld: most, Ceiling: most, Roles: []uint32{1<<32 - 1}}),
		budget.AdmissionQuery(budget.Admission{Withheld: most, Ceiling: most, Roles: []uint32{1<<32 - 1, 1<<32 - 2, 1<<32 - 3}}),
	} {
		if len(query) > budget.MaxQueryBytes {
			t.Errorf("%q has %d bytes, PgBouncer sends no more than %d", query, len(query), budget.MaxQueryBytes)
		}
		if strings.ContainsAny(query, "\n\r\x00") {
			t.Errorf("%q has a line break", query)
		}
	}
}

func TestACeilingCountsTheRolesThatFitAndElseAllThatAreAsNew(t *testing.T) {
	tests := map[string]struct {
		admission budget.Admission
		says      string
	}{
		"none without a ceiling":  {budget.Admission{Withheld: 10, Roles: newRoles(2)}, "+10-int4(current_setting('max_connections'))from"},
		"one role":                {budget.Admission{Withheld: 10, Ceiling: 60, Roles: newRoles(1)}, "greatest(count(usesysid)+10-int4(current_setting('max_connections')),count(usesysid in(16384)or null)-60)from"},
		"in any order, each once": {budget.Admission{Withheld: 10, Ceiling: 60, Roles: []uint32{16390, 10, 16390, 16384}}, "usesysid in(10,16384,16390)or"},
		"four roles fit":          {budget.Admission{Withheld: 1000, Ceiling: 9000, Roles: newRoles(4)}, "usesysid in(16384,16385,16386,16387)or"},
		"eight do not":            {budget.Admission{Withheld: 3, Ceiling: 40, Roles: newRoles(8)}, "count(usesysid>=16384 or null)-40)"},
		"nor does a superuser":    {budget.Admission{Withheld: 3, Ceiling: 40, Roles: append(newRoles(8), 10)}, "count(usesysid>=10 or null)-40)"},
		"roles not known":         {budget.Admission{Withheld: 3, Ceiling: 40}, "count(usesysid>=0 or null)-40)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := budget.AdmissionQuery(test.admission); !strings.Contains(got, test.says) {
				t.Errorf("got %s\nwant %q in it", got, test.says)
			}
		})
	}
}
