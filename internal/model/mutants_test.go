// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/controllers"
)

// mutant is one thing that is broken on purpose. The zero value is none.
type mutant struct {
	// client, live and asker come between a leader and the world.
	client func(*leader, client.Client) client.Client
	live   func(*leader, client.Reader) client.Reader
	asker  func(*leader, controllers.StatusAsker) controllers.StatusAsker
	// cachedLive has live reads answered from the cache.
	cachedLive bool
	// deaf forgets that a look at the server failed.
	deaf bool

	// anyUID has pods obey another's grant, anyGen an older one.
	anyUID, anyGen bool
	// zeroRuns has PgBouncer run with a limit of 0.
	zeroRuns bool
	// keepsNothing forgets over a restart what a drain gave back.
	keepsNothing bool

	// noAdmission lets every login pass.
	noAdmission bool

	// losesLedger is for a mistake that shows only where the ledger is lost.
	losesLedger bool
}

// mutants are mistakes that somebody could make, and what is to catch each: the first
// invariants that it breaks.
var mutants = []struct {
	name    string
	mutant  mutant
	catches string
}{
	{"the ledger is written whatever was written since", mutant{client: onLedger(overwrite)}, "I1 I2 I3 I4"},
	{"after a conflict the ledger is read again and the old decision written", mutant{client: onLedger(retryOnConflict)}, "I1 I2 I3 I4"},
	{"held follows granted at once", mutant{client: onLedger(heldIsGranted)}, "I2 I3"},
	{"an acknowledgement of any number will do", mutant{asker: onAnswer(anyNumber)}, "I2 I3"},
	{"others grow before a shrink is confirmed", mutant{asker: onAnswer(asTold)}, "I2 I3"},
	{"terminating pods are forgotten", mutant{client: forgetTerminating, live: liveTerminating}, "I3"},
	{"entries are freed by name", mutant{live: byName}, "L1 I2 I3"},
	{"absence from the cache is believed", mutant{cachedLive: true}, "I3"},
	{"a pod that went by an address is taken for the one there now", mutant{asker: onAnswer(whoeverAnswers)}, "I2 I3"},
	{"pods are told before the ledger is written", mutant{client: onLedger(tellFirst)}, "I2"},
	{"the 0 of a drained pod is final", mutant{client: onLedger(drainedIsFinal)}, "I2 I3"},
	{"connections are raised while the server is silent", mutant{deaf: true}, "I6"},
	{"a copied pod obeys the annotation that came with it", mutant{anyUID: true}, "I2"},
	{"a pod obeys an older number", mutant{anyGen: true}, "I2"},
	{"0 is written for a limit", mutant{zeroRuns: true}, "I2"},
	{"a restart brings back what a drain gave up", mutant{keepsNothing: true}, "I2"},
	{"logins are not admitted", mutant{noAdmission: true}, "A1"},
	{"only pods that are ready are told", mutant{client: readyOnly}, "L1 L2"},
	{"a grant does not say what its pod may still hold", mutant{client: withoutHeld, losesLedger: true}, "I1"},
}

// runsPerMutant bounds the search for a run that catches a mutant.
const runsPerMutant = 1500

func TestTheCheckerBites(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			world := rapid.Custom(func(t *rapid.T) string {
				return play(t, environment{losesLedger: m.mutant.losesLedger}, m.mutant, func(string) {}).report()
			})
			for seed := range runsPerMutant {
				how := world.Example(seed + 1)
				if how == "" {
					continue
				}
				invariant, _, _ := strings.Cut(how, ":")
				if !strings.Contains(m.catches, invariant) {
					t.Errorf("caught by %s, not by %s:\n%s", invariant, m.catches, how)
				}
				first, _, _ := strings.Cut(how, "\n")
				t.Logf("caught in run %d: %s", seed+1, first)
				return
			}
			t.Errorf("nothing caught it in %d runs", runsPerMutant)
		})
	}
}

// TestWithoutAMutantTheSameRunsHold: what catches a mutant is the mutant.
func TestWithoutAMutantTheSameRunsHold(t *testing.T) {
	for seed := range 100 {
		if how := once(environment{}, seed+1).broken; how != "" {
			t.Fatalf("run %d: %s", seed+1, how)
		}
	}
}

func TestASeedIsARun(t *testing.T) {
	env := environment{losesLedger: true}
	for seed := range 50 {
		first, again := once(env, seed+1).String(), once(env, seed+1).String()
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("run %d is not the same again:\n%s", seed+1, diff)
		}
	}
}

// once is the world at the end of the run of a seed.
func once(env environment, seed int) (w *world) {
	rapid.Custom(func(t *rapid.T) bool {
		w = play(t, env, mutant{}, func(string) {})
		return true
	}).Example(seed)
	return w
}
