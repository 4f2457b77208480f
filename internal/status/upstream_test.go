// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/status"
)

// serverFacts are those of a server with nothing wrong.
func serverFacts(changes ...func(*status.UpstreamFacts)) status.UpstreamFacts {
	f := status.UpstreamFacts{
		Asked: true, Reachable: true, Known: true, Budget: 92, Held: 92, Left: 5, Direct: 5, AdmissionChecked: true,
		Use: poolv1.ServerUse{Connections: new(int32(95)), Others: new(int32(3)), Deducted: new(int32(0))},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func intruded(f *status.UpstreamFacts) {
	f.Use.Others, f.Use.Deducted, f.Budget, f.Held = new(int32(17)), new(int32(17)), 75, 75
	f.Biggest = []string{`role "etl"`, `role "bi" with application "psql"`}
}

var upstreamStates = map[string]struct {
	facts status.UpstreamFacts
	want  []string
}{
	"never asked": {status.UpstreamFacts{}, []string{
		"Ready=Unknown/Pending", "Reachable=Unknown/Pending", "WithinBudget=Unknown/Pending", "HeadroomAvailable=Unknown/Pending", "AdmissionActive=Unknown/Pending", "Reconciling=True/Pending",
	}},
	"all is well": {serverFacts(), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery",
	}},
	"the server is silent": {serverFacts(func(f *status.UpstreamFacts) { f.Reachable = false }), []string{
		"Ready=False/NotAnswering", "Reachable=False/NotAnswering", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery", "Stalled=True/NotAnswering",
	}},
	"the budget fell": {serverFacts(func(f *status.UpstreamFacts) { f.Budget = 50 }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=False/OverBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery", "Reconciling=True/OverBudget",
	}},
	"nothing is left for pools": {serverFacts(func(f *status.UpstreamFacts) { f.Budget, f.Held = 0, 0 }), []string{
		"Ready=False/NoBudget", "Reachable=True/Observed", "WithinBudget=False/NoBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery", "Stalled=True/NoBudget",
	}},
	"others use more than is left to them": {serverFacts(intruded), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=False/Intruded", "AdmissionActive=True/AdmissionQuery",
	}},
	"others use all that was left to pools, too": {serverFacts(intruded, func(f *status.UpstreamFacts) { f.Budget, f.Held = 0, 0 }), []string{
		"Ready=False/NoBudget", "Reachable=True/Observed", "WithinBudget=False/NoBudget", "HeadroomAvailable=False/Intruded", "AdmissionActive=True/AdmissionQuery", "Stalled=True/NoBudget",
	}},
	"others use what is left to them": {serverFacts(func(f *status.UpstreamFacts) { f.Use.Others, f.Use.Deducted = new(int32(5)), new(int32(5)) }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery",
	}},
	"one look shows more than is left to others": {serverFacts(func(f *status.UpstreamFacts) { f.Use.Others = new(int32(9)) }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=True/AdmissionQuery",
	}},
	"no room for a look": {serverFacts(func(f *status.UpstreamFacts) { f.Full = true }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=False/Intruded", "AdmissionActive=True/AdmissionQuery",
	}},
	"the server hides its connections": {serverFacts(func(f *status.UpstreamFacts) { f.Hidden, f.Use = true, poolv1.ServerUse{} }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=Unknown/NotVisible", "AdmissionActive=True/AdmissionQuery",
	}},
	"the count does not run": {serverFacts(func(f *status.UpstreamFacts) { f.AdmissionChecked, f.AdmissionProblem = false, "permission denied." }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=False/AdmissionFails",
	}},
	"the count was not tried": {serverFacts(func(f *status.UpstreamFacts) { f.AdmissionChecked = false }), []string{
		"Ready=True/Available", "Reachable=True/Observed", "WithinBudget=True/WithinBudget", "HeadroomAvailable=True/Headroom", "AdmissionActive=Unknown/Pending",
	}},
	"a pooler in between": {serverFacts(func(f *status.UpstreamFacts) { f.Pooled, f.Declared = true, true }), []string{
		"Ready=True/Available", "Reachable=Unknown/Declared", "WithinBudget=True/WithinBudget", "HeadroomAvailable=Unknown/Declared", "AdmissionActive=False/BehindPooler",
	}},
	"a number stands in for the server's word": {serverFacts(func(f *status.UpstreamFacts) { f.Declared = true }), []string{
		"Ready=True/Available", "Reachable=Unknown/Declared", "WithinBudget=True/WithinBudget", "HeadroomAvailable=Unknown/Declared", "AdmissionActive=Unknown/Declared",
	}},
}

func TestUpstreamConditions(t *testing.T) {
	for name, c := range upstreamStates {
		t.Run(name, func(t *testing.T) {
			got := status.ComputeUpstream(c.facts, now)
			if diff := cmp.Diff(c.want, short(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			for _, condition := range got {
				wellFormed(t, condition, 0)
			}
		})
	}
}

func TestIntrudersAreNamed(t *testing.T) {
	headroom := func(f status.UpstreamFacts) string {
		return meta.FindStatusCondition(status.ComputeUpstream(f, now), poolv1.ConditionHeadroomAvailable).Message
	}
	want := `Others use 17 connections and 5 are left to them, so pools divide 17 less, most by role "etl", role "bi" with application "psql": end those that should not be there, or raise spec.directConnections`
	if diff := cmp.Diff(want, headroom(serverFacts(intruded))); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	unnamed := serverFacts(intruded, func(f *status.UpstreamFacts) { f.Biggest = nil })
	if got := headroom(unnamed); !strings.Contains(got, "under the pools' own roles") {
		t.Errorf("message = %s", got)
	}
}

func TestAManagerThatHasNotLookedLeavesWhatIsKnown(t *testing.T) {
	known := status.ComputeUpstream(serverFacts(intruded), now)
	after := status.ComputeUpstream(status.UpstreamFacts{Previous: known}, metav1.NewTime(now.Add(1)))
	if diff := cmp.Diff(known, after); diff != "" {
		t.Errorf("conditions (-before +after):\n%s", diff)
	}
}

func TestWordsOnHeadroomStayWhileItsNumbersDo(t *testing.T) {
	known := status.ComputeUpstream(serverFacts(intruded), now)
	nameless := serverFacts(intruded, func(f *status.UpstreamFacts) { f.Previous, f.SameUse, f.Biggest = known, true, nil })
	if diff := cmp.Diff(known, status.ComputeUpstream(nameless, now)); diff != "" {
		t.Errorf("conditions (-before +after):\n%s", diff)
	}
}
