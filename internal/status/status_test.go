// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/status"
)

var now = metav1.NewTime(time.Unix(1_700_000_000, 0))

// settled are the facts of a pool with nothing left to do.
func settled(changes ...func(*status.Facts)) status.Facts {
	f := status.Facts{
		Generation: 7, Observed: true,
		Account: &status.Account{Upstream: "db", Budget: 92, Floor: 1, Entitled: 92, Share: 92, Granted: 92},
		Poolers: &status.Poolers{Wanted: 2, Bounded: 2, Replicas: 2, Ready: 2, Updated: 2, Current: true},
		Config:  status.Config{Revision: "r1", Applied: 2, Pods: 2},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

// short is the conditions as "Type=Status/Reason".
func short(conditions []metav1.Condition) (out []string) {
	for _, c := range conditions {
		out = append(out, c.Type+"="+string(c.Status)+"/"+c.Reason)
	}
	return out
}

var poolStates = map[string]struct {
	facts status.Facts
	want  []string
}{
	"nothing is known yet": {status.Facts{}, []string{
		"Ready=Unknown/Pending", "UpstreamObserved=Unknown/Pending", "BudgetGranted=Unknown/Pending",
		"PoolersAvailable=Unknown/Pending", "ConfigApplied=Unknown/Pending", "Reconciling=True/Pending",
	}},
	"all is well": {settled(), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied",
	}},
	"the gateway serves it": {settled(func(f *status.Facts) { f.Edge = &status.Edge{Host: "shop-web.edge.example.com"} }), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "EdgePublished=True/Published",
	}},
	"the gateway can not serve it": {settled(func(f *status.Facts) {
		f.Edge = &status.Edge{Refused: status.Block(poolv1.ConditionEdgePublished, poolv1.ReasonNameTaken, "another has the name")}
	}), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "EdgePublished=False/NameTaken",
	}},
	"the Secret is missing before the pool ever ran": {status.Facts{
		Blocked: status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonSecretMissing, "create it"),
	}, []string{
		"Ready=False/SecretMissing", "UpstreamObserved=False/SecretMissing", "BudgetGranted=Unknown/Pending",
		"PoolersAvailable=Unknown/Pending", "ConfigApplied=Unknown/Pending", "Stalled=True/SecretMissing",
	}},
	"the server went away under a running pool": {settled(func(f *status.Facts) {
		f.Probe = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "nothing answers")
	}), []string{
		"Ready=False/Unreachable", "UpstreamObserved=False/Unreachable", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "Stalled=True/Unreachable",
	}},
	"a full server still serves the pool": {settled(func(f *status.Facts) {
		f.Probe = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonServerFull, "no connection is left")
	}), []string{
		"Ready=True/Available", "UpstreamObserved=False/ServerFull", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "Stalled=True/ServerFull",
	}},
	"a role at its limit still serves the pool": {settled(func(f *status.Facts) {
		f.Probe = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonRoleFull, "the role is at its limit")
	}), []string{
		"Ready=True/Available", "UpstreamObserved=False/RoleFull", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "Stalled=True/RoleFull",
	}},
	"the budget carries fewer poolers than asked for": {settled(func(f *status.Facts) {
		f.Account.Entitled, f.Account.Share, f.Account.Granted = 2, 2, 2
		f.Poolers.Wanted = 9
	}), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=False/InsufficientBudget",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied", "Stalled=True/InsufficientBudget",
	}},
	"nothing of the budget is left": {settled(func(f *status.Facts) {
		f.Account.Entitled, f.Account.Share, f.Account.Granted = 0, 0, 0
		f.Poolers = &status.Poolers{Wanted: 2, Current: true}
		f.Config = status.Config{Revision: "r1"}
	}), []string{
		"Ready=False/InsufficientBudget", "UpstreamObserved=True/Observed", "BudgetGranted=False/InsufficientBudget",
		"PoolersAvailable=False/Unavailable", "ConfigApplied=Unknown/Pending", "Stalled=True/InsufficientBudget",
	}},
	"a surging pod waits for connections": {settled(func(f *status.Facts) {
		f.Account.Waiting = 1
		f.Poolers.Replicas, f.Poolers.Updated = 3, 1
	}), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=False/WaitingForRelease",
		"PoolersAvailable=True/RollingOut", "ConfigApplied=True/Applied", "Reconciling=True/WaitingForRelease",
	}},
	"one of two poolers is ready": {settled(func(f *status.Facts) { f.Poolers.Ready = 1 }), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/RollingOut", "ConfigApplied=True/Applied", "Reconciling=True/RollingOut",
	}},
	"no pooler is ready": {settled(func(f *status.Facts) { f.Poolers.Ready = 0 }), []string{
		"Ready=False/Unavailable", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=False/Unavailable", "ConfigApplied=True/Applied", "Reconciling=True/Unavailable",
	}},
	"no pooler is asked for": {settled(func(f *status.Facts) {
		f.Account.Granted = 0
		f.Poolers, f.Config = &status.Poolers{Current: true}, status.Config{Revision: "r1"}
	}), []string{
		"Ready=False/ScaledToZero", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=False/ScaledToZero", "ConfigApplied=True/Applied",
	}},
	"a new configuration is on its way": {settled(func(f *status.Facts) { f.Config.Applied = 1 }), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=False/Reloading", "Reconciling=True/Reloading",
	}},
	"a certificate can not be taken up": {settled(func(f *status.Facts) {
		f.Config.Kept = status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateInvalid, "the last good one stays in use")
	}), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=False/CertificateInvalid", "Stalled=True/CertificateInvalid",
	}},
	"PgBouncer refuses the configuration": {settled(func(f *status.Facts) {
		f.Config.Applied, f.Config.Problem = 0, "unknown parameter."
	}), []string{
		"Ready=True/Available", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=False/Rejected", "Stalled=True/Rejected",
	}},
	"the pool's minimum does not fit": {settled(func(f *status.Facts) {
		f.Account.Minimum, f.Account.Entitled, f.Account.Share, f.Account.Granted = 200, 0, 0, 0
		f.Poolers, f.Config = &status.Poolers{Wanted: 2, Current: true}, status.Config{Revision: "r1"}
	}), []string{
		"Ready=False/InsufficientBudget", "UpstreamObserved=True/Observed", "BudgetGranted=False/InsufficientBudget",
		"PoolersAvailable=False/Unavailable", "ConfigApplied=Unknown/Pending", "Stalled=True/InsufficientBudget",
	}},
	"a number stands in for the server's word": {settled(func(f *status.Facts) { f.Declared = new(int32(20)) }), []string{
		"Ready=True/Available", "UpstreamObserved=True/Declared", "BudgetGranted=True/Granted",
		"PoolersAvailable=True/MinimumAvailable", "ConfigApplied=True/Applied",
	}},
	"a setting that is refused before the pool ever ran": {status.Facts{
		Observed: true, Account: &status.Account{Floor: 1, Entitled: 92, Share: 92},
		Blocked: status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonRejected, "leave it out"),
	}, []string{
		"Ready=False/Rejected", "UpstreamObserved=True/Observed", "BudgetGranted=Unknown/Pending",
		"PoolersAvailable=Unknown/Pending", "ConfigApplied=False/Rejected", "Stalled=True/Rejected",
	}},
	"a name is taken": {settled(func(f *status.Facts) {
		f.Blocked = status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonNameConflict, "rename it")
	}), []string{
		"Ready=False/NameConflict", "UpstreamObserved=True/Observed", "BudgetGranted=True/Granted",
		"PoolersAvailable=False/NameConflict", "ConfigApplied=True/Applied", "Stalled=True/NameConflict",
	}},
}

func TestConditions(t *testing.T) {
	for name, c := range poolStates {
		t.Run(name, func(t *testing.T) {
			got := status.Compute(c.facts, now)
			if diff := cmp.Diff(c.want, short(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			for _, condition := range got {
				wellFormed(t, condition, c.facts.Generation)
			}
		})
	}
}

func wellFormed(t *testing.T, c metav1.Condition, generation int64) {
	t.Helper()
	if c.Message == "" || strings.HasSuffix(c.Message, ".") {
		t.Errorf("%s: message %q is empty or ends with a full stop", c.Type, c.Message)
	}
	if c.ObservedGeneration != generation || c.LastTransitionTime != now {
		t.Errorf("%s: generation %d at %v", c.Type, c.ObservedGeneration, c.LastTransitionTime)
	}
}

func TestAnUnchangedStatusKeepsItsTransitionTime(t *testing.T) {
	before := status.Compute(settled(), now)
	later := metav1.NewTime(now.Add(time.Hour))
	after := status.Compute(settled(func(f *status.Facts) { f.Previous, f.Config.Applied = before, 1 }), later)
	for i, c := range after[:5] {
		want := now
		if c.Type == poolv1.ConditionConfigApplied {
			want = later
		}
		if c.LastTransitionTime != want {
			t.Errorf("%s (was %s, is %s): transition at %v, want %v", c.Type, before[i].Status, c.Status, c.LastTransitionTime, want)
		}
	}
}

func TestAnAppliedConfigurationSaysWhatAPersonShouldKnowOfIt(t *testing.T) {
	facts := settled(func(f *status.Facts) { f.Config.Note = "the certificate in use expires on 2026-01-02" })
	for _, c := range status.Compute(facts, now) {
		if c.Type == poolv1.ConditionConfigApplied && c.Message != "2 of 2 poolers run configuration r1; the certificate in use expires on 2026-01-02" {
			t.Errorf("message = %q", c.Message)
		}
	}
}
