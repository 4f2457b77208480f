// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// TestMain has runs long enough to lead somewhere, and as many as a test has time
// for. Flags on the command line go before: -rapid.checks=20000 for a long night,
// -rapid.seed to see a run again.
func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	for name, value := range map[string]string{"rapid.steps": "70", "rapid.checks": "300"} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestTheBudgetHoldsInAnyOrderOfEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { holds(t, environment{}) })
}

func TestTheBudgetHoldsWhenTheLedgerIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { holds(t, environment{losesLedger: true}) })
}

func TestAdmissionHoldsWhatNoLedgerCanKnow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { holds(t, environment{hostile: true, losesLedger: true}) })
}

func holds(t *rapid.T, env environment) {
	fail := func(how string) { t.Fatal(how) }
	if how := run(t, env, mutant{}, fail); how != "" {
		fail(how)
	}
}
