// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/go-logr/logr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// defaults are runs long enough to lead somewhere, as many as a test has time for,
// and the same each time: what a change breaks is to be seen, and what it does not
// break is not to stop it by luck. New runs are for a soak, which has the time. A seed
// says all that a file of a failed run would.
var defaults = map[string]string{"rapid.steps": "70", "rapid.checks": "300", "rapid.seed": "1", "rapid.nofailfile": "true"}

// TestMain takes flags before defaults. Who asks for a number of runs gets new ones,
// -rapid.checks=20000 for a long night; -rapid.seed has a run again.
func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	chosen := maps.Clone(defaults)
	if given["rapid.checks"] && !given["rapid.seed"] {
		chosen["rapid.seed"] = strconv.FormatUint(rand.Uint64()|1, 10) // 0 would be none.
		fmt.Fprintf(os.Stderr, "-rapid.seed=%s\n", chosen["rapid.seed"])
	}
	for name, value := range chosen {
		if given[name] {
			continue
		}
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
	if how := play(t, env, mutant{}, fail).report(); how != "" {
		fail(how)
	}
}

// play is one run: a world, what happens in it, and how it calms down.
func play(t *rapid.T, env environment, m mutant, fail func(string)) *world {
	w := newWorld(env, m, rapid.Int32Range(8, 45).Draw(t, "max_connections"))
	defer w.close()
	c := &chance{w, t}
	c.begin()
	all := w.steps()
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) {
		if w.broken != "" {
			return
		}
		c.t = t
		c.happen(all)
		w.check()
		if w.broken != "" {
			fail(w.report())
		}
	}})
	if w.broken == "" {
		w.calm(c)
	}
	return w
}

// report is what did not hold, and how it came to it; empty if all held.
func (w *world) report() string {
	if w.broken == "" {
		return ""
	}
	return w.broken + "\n" + w.String()
}

// begin makes the pools, and a few pods of each.
func (c *chance) begin() {
	for i := range 1 + c.upTo(2, "further pools") {
		name := string(rune('a' + i))
		c.addPool(name, rapid.Int32Range(1, 3).Draw(c.t, "replicas"), rapid.Int32Range(1, 3).Draw(c.t, "databases"), poolv1.ServerConnections{
			Weight: rapid.SampledFrom([]int32{0, 100, 300}).Draw(c.t, "weight"),
		})
		for n := range c.upTo(2, "pods") {
			p := c.newPod(name, fmt.Sprint(name, "-", n), nil)
			p.started = true
			p.refresh()
			p.report()
		}
		for _, l := range c.leaders {
			l.look(poolKey(name))
		}
	}
	c.note("pools %v with %d pods, %d connections", c.poolNames(), len(c.pods), c.server.max)
}
