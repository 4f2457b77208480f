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

// paused are the facts of a pool whose poolers hold their clients.
func paused(changes ...func(*status.Facts)) status.Facts {
	return settled(append([]func(*status.Facts){func(f *status.Facts) { f.Paused, f.Config.Paused = true, 2 }}, changes...)...)
}

// summary is Ready, UpstreamObserved, and what kstatus reads besides.
func summary(conditions []metav1.Condition) (out []string) {
	for _, c := range short(conditions) {
		for _, kind := range []string{"Ready", "UpstreamObserved", "Reconciling", "Stalled"} {
			if strings.HasPrefix(c, kind+"=") {
				out = append(out, c)
			}
		}
	}
	return out
}

var pauseStates = map[string]struct {
	facts status.Facts
	want  []string
	says  string
}{
	"every pooler holds its clients": {
		paused(),
		[]string{"Ready=False/Paused", "UpstreamObserved=True/Observed"},
		"spec.state is Paused: 2 of 2 poolers hold their clients until it is Running",
	},
	"a transaction has yet to end": {
		paused(func(f *status.Facts) { f.Config.Paused = 1 }),
		[]string{"Ready=False/Pausing", "UpstreamObserved=True/Observed", "Reconciling=True/Pausing"},
		"spec.state is Paused: 1 of 2 poolers hold their clients until it is Running",
	},
	"the pause is on its way": {
		paused(func(f *status.Facts) { f.Config.Paused, f.Config.Applied = 0, 0 }),
		[]string{"Ready=False/Pausing", "UpstreamObserved=True/Observed", "Reconciling=True/Reloading"},
		"spec.state is Paused: 0 of 2 poolers hold their clients until it is Running",
	},
	"the server is away for its maintenance": {
		paused(func(f *status.Facts) {
			f.Probe = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "nothing answers")
		}),
		[]string{"Ready=False/Paused", "UpstreamObserved=False/Unreachable"},
		"spec.state is Paused: 2 of 2 poolers hold their clients until it is Running",
	},
	"and the operator was started anew meanwhile": {
		paused(func(f *status.Facts) {
			f.Blocked = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "nothing answers")
		}),
		[]string{"Ready=False/Paused", "UpstreamObserved=False/Unreachable"},
		"spec.state is Paused: 2 of 2 poolers hold their clients until it is Running",
	},
	"the Secret went away, which no maintenance does": {
		paused(func(f *status.Facts) {
			f.Blocked = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonSecretMissing, "create it")
		}),
		[]string{"Ready=False/Paused", "UpstreamObserved=False/SecretMissing", "Stalled=True/SecretMissing"},
		"spec.state is Paused: 2 of 2 poolers hold their clients until it is Running",
	},
	"no pooler is there to hold anyone": {
		paused(func(f *status.Facts) { f.Poolers.Ready = 0 }),
		[]string{"Ready=False/Unavailable", "UpstreamObserved=True/Observed", "Reconciling=True/Unavailable"},
		"0 of 2 poolers are ready",
	},
	"no pooler has resumed yet": {
		paused(func(f *status.Facts) { f.Paused, f.Config.Applied = false, 0 }),
		[]string{"Ready=False/Resuming", "UpstreamObserved=True/Observed", "Reconciling=True/Reloading"},
		"spec.state is Running: 2 of 2 poolers have yet to let their clients go on",
	},
	"one pooler has resumed": {
		paused(func(f *status.Facts) { f.Paused, f.Config.Paused = false, 1 }),
		[]string{"Ready=True/Available", "UpstreamObserved=True/Observed"},
		"Clients can connect",
	},
}

func TestAPauseIsWhatWasAskedFor(t *testing.T) {
	for name, c := range pauseStates {
		t.Run(name, func(t *testing.T) {
			got := status.Compute(c.facts, now)
			if diff := cmp.Diff(c.want, summary(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if ready := meta.FindStatusCondition(got, poolv1.ConditionReady); ready.Message != c.says {
				t.Errorf("Ready says %q, want %q", ready.Message, c.says)
			}
		})
	}
}

func TestAPoolOnItsWayToZeroIsNotThereYet(t *testing.T) {
	for replicas, want := range map[int32][]string{
		1: {"Ready=False/ScaledToZero", "UpstreamObserved=True/Observed", "Reconciling=True/ScaledToZero"},
		0: {"Ready=False/ScaledToZero", "UpstreamObserved=True/Observed"},
	} {
		got := status.Compute(settled(func(f *status.Facts) {
			f.Poolers, f.Config = &status.Poolers{Current: true, Replicas: replicas, Ready: replicas}, status.Config{Revision: "r1"}
		}), now)
		if diff := cmp.Diff(want, summary(got)); diff != "" {
			t.Errorf("%d poolers left (-want +got):\n%s", replicas, diff)
		}
	}
}

func TestWhatPoolersRun(t *testing.T) {
	applied := func(c status.Config, previous ...metav1.Condition) status.Facts {
		return settled(func(f *status.Facts) { f.Config, f.Previous = c, previous })
	}
	was := func(status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: poolv1.ConditionConfigApplied, Status: status}
	}
	cases := map[string]struct {
		facts status.Facts
		want  string
	}{
		"all run it":              {applied(status.Config{Revision: "r1", Pods: 3, Applied: 3}), "True/Applied: 3 of 3 poolers run configuration r1"},
		"one is silent":           {applied(status.Config{Revision: "r1", Pods: 3, Applied: 2}, was("True")), "False/Reloading: 2 of 3 poolers run configuration r1"},
		"one has yet to be asked": {applied(status.Config{Revision: "r1", Pods: 3, Applied: 2, Unasked: 1}), "Unknown/Pending: 1 of 3 poolers have yet to be asked what they run"},
		"none was asked by an operator that has just started, and all ran it": {
			applied(status.Config{Revision: "r1", Pods: 3, Unasked: 3, Same: true}, was("True")), "True/Applied: 3 of 3 poolers run configuration r1",
		},
		"or not all did": {
			applied(status.Config{Revision: "r1", Pods: 3, Unasked: 3, Same: true}, was("False")), "Unknown/Pending: 3 of 3 poolers have yet to be asked what they run",
		},
		"or another": {
			applied(status.Config{Revision: "r2", Pods: 3, Unasked: 3}, was("True")), "Unknown/Pending: 3 of 3 poolers have yet to be asked what they run",
		},
		"one refuses it": {
			applied(status.Config{Revision: "r1", Pods: 3, Applied: 2, Problem: "unknown parameter."}),
			"False/Rejected: 2 of 3 poolers run configuration r1, the others keep the one before it: unknown parameter",
		},
		"it was refused before any of them saw it": {
			settled(func(f *status.Facts) {
				f.Blocked = status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonLookupMissing, "install the function")
			}),
			"False/LookupMissing: install the function; the poolers keep what they run",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := meta.FindStatusCondition(status.Compute(c.facts, now), poolv1.ConditionConfigApplied)
			if said := string(got.Status) + "/" + got.Reason + ": " + got.Message; said != c.want {
				t.Errorf("ConfigApplied is %q, want %q", said, c.want)
			}
		})
	}
}

func TestWhatNeedsAPersonStallsAndLeavesPoolersServing(t *testing.T) {
	for _, reason := range []string{
		poolv1.ReasonCertificateMissing, poolv1.ReasonCertificateInvalid, poolv1.ReasonIssuerMissing, poolv1.ReasonLookupMissing,
	} {
		got := status.Compute(settled(func(f *status.Facts) {
			f.Blocked = status.Block(poolv1.ConditionConfigApplied, reason, "what to do")
		}), now)
		want := []string{"Ready=True/Available", "UpstreamObserved=True/Observed", "Stalled=True/" + reason}
		if diff := cmp.Diff(want, summary(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	kept := settled(func(f *status.Facts) {
		f.Kept = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonAuthenticationFailed, "what to do")
	})
	lost := kept
	lost.Probe = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "nothing answers")
	probed := func(reason string) status.Facts {
		return settled(func(f *status.Facts) {
			f.Probe = status.Block(poolv1.ConditionUpstreamObserved, reason, "what to do")
		})
	}
	for name, c := range map[string]struct {
		facts         status.Facts
		ready, reason string
	}{
		"a standby where a primary is meant":              {probed(poolv1.ReasonInRecovery), "False/InRecovery", poolv1.ReasonInRecovery},
		"a primary where a standby is meant":              {probed(poolv1.ReasonNotInRecovery), "True/Available", poolv1.ReasonNotInRecovery},
		"a password that was never right":                 {kept, "True/Available", poolv1.ReasonAuthenticationFailed},
		"the same, and the server in use does not answer": {lost, "False/AuthenticationFailed", poolv1.ReasonAuthenticationFailed},
	} {
		want := []string{"Ready=" + c.ready, "UpstreamObserved=False/" + c.reason, "Stalled=True/" + c.reason}
		if diff := cmp.Diff(want, summary(status.Compute(c.facts, now))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
