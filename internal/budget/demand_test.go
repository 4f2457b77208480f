// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// history is a pool's demand, a sample each second.
type history struct {
	budget.Demand
	now     time.Time
	changes int
}

func newHistory() *history { return &history{now: time.Unix(1000, 0)} }

func (h *history) see(seconds int, usage func(second int) budget.Usage) {
	for i := range seconds {
		h.now = h.now.Add(time.Second)
		before := h.need()
		h.Observe(h.now, usage(i))
		if h.need() != before {
			h.changes++
		}
	}
}

// unknown stands for no need.
const unknown = -1

func (h *history) need() int32 {
	if need := h.Need(); need != nil {
		return *need
	}
	return unknown
}

func always(peak, starved int32) func(int) budget.Usage {
	return func(int) budget.Usage { return budget.Usage{Peak: peak, Starved: starved} }
}

func (h *history) expect(t *testing.T, when string, want int32) {
	t.Helper()
	if got := h.need(); got != want {
		t.Errorf("%s the need is %d, want %d", when, got, want)
	}
}

func TestNeedIsKnownAfterAWholeWindowAndHasHeadroom(t *testing.T) {
	h := newHistory()
	h.expect(t, "before any sample", unknown)
	h.see(30, always(20, 0))
	h.expect(t, "before the window is over", unknown)
	h.see(1, always(20, 0))
	h.expect(t, "with 20 in use", 25)

	idle := newHistory()
	idle.see(31, always(0, 0))
	idle.expect(t, "of an idle pool", 1)
}

func TestNeedOfWaitingClientsIsKnownAtOnce(t *testing.T) {
	h := newHistory()
	h.see(1, always(5, 3))
	h.expect(t, "with the first sample", 8)
	h.see(20, always(6, 0))
	h.expect(t, "before a window is over, when nobody waits any more,", 8)
	h.see(1, always(6, math.MaxInt32))
	h.expect(t, "with more that wait than can be counted", math.MaxInt32)
}

func TestNeedOfSteadyButNoisyDemandSettles(t *testing.T) {
	h := newHistory()
	noise := []int32{0, 1, -1, 2, 0, -2, 1, -1, 0, 2, -1}
	noisy := func(i int) budget.Usage { return budget.Usage{Peak: 40 + noise[i%len(noise)]} }
	h.see(60, noisy)
	changes, need := h.changes, h.need()
	h.see(3600, noisy)
	if h.changes != changes || h.need() != need {
		t.Errorf("the need went from %d to %d in an hour of steady demand, in %d changes", need, h.need(), h.changes-changes)
	}
}

func TestNeedFollowsABurstAtOnceAndForgetsIt(t *testing.T) {
	h := newHistory()
	h.see(60, always(4, 0))
	h.expect(t, "before the burst", 5)
	h.see(1, always(5, 20))
	h.expect(t, "in the burst", 25)
	h.see(30, always(4, 0))
	h.expect(t, "while the burst is remembered", 25)
	h.see(1, always(4, 0))
	h.expect(t, "after it", 5)
}

func TestNeedFallsInStepsThatMatter(t *testing.T) {
	h := newHistory()
	h.see(60, always(80, 0))
	h.expect(t, "at first", 100)
	h.see(60, always(74, 0))
	h.expect(t, "when a little less is in use", 100)
	h.see(60, always(72, 0))
	h.expect(t, "when a tenth less is", 90)
	h.see(120, func(i int) budget.Usage { return budget.Usage{Peak: 72 - int32(i)*72/120} })
	h.see(31, always(0, 0))
	h.expect(t, "when it has faded, but for what counts as noise,", 2)
}

func TestNeedIsForgottenWithAGapInTheSamples(t *testing.T) {
	h := newHistory()
	h.see(60, always(8, 0))
	h.now = h.now.Add(budget.DemandMemory)
	h.see(1, always(2, 0))
	h.expect(t, "after a gap of more than a window", unknown)
	h.see(30, always(2, 0))
	h.expect(t, "a window later", 3)
}

func TestNeedSurvivesAClockThatIsSetBack(t *testing.T) {
	h := newHistory()
	h.see(60, always(8, 0))
	h.now = h.now.Add(-5 * time.Second)
	h.see(1, always(12, 0))
	h.expect(t, "a few seconds before", 15)
	h.now = h.now.Add(-time.Hour)
	h.see(31, always(4, 0))
	h.expect(t, "an hour before, and a window later,", 5)
}

func TestNeedIsNeverBelowWhatWasWantedInTheWindowNorFarAbove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		var wants []int32
		for range rapid.IntRange(31, 120).Draw(t, "seconds") {
			u := budget.Usage{Peak: rapid.Int32Range(0, 60).Draw(t, "peak"), Starved: max(0, rapid.Int32Range(-40, 20).Draw(t, "starved"))}
			h.see(1, func(int) budget.Usage { return u })
			want := u.Peak + max(1, u.Peak/4)
			if u.Starved > 0 {
				want = u.Peak + u.Starved
			}
			wants = append(wants, want)
			var largest int32
			for _, w := range wants[max(0, len(wants)-31):] {
				largest = max(largest, w)
			}
			need := h.need()
			if need == unknown {
				continue
			}
			if need < largest || need-largest >= max(2, need/10) {
				t.Fatalf("the need is %d, and the most that was wanted is %d: %v", need, largest, wants)
			}
		}
	})
}

func TestAPoolWhosePodsAreNotEquallyBusyWantsWhatItsBusiestNeeds(t *testing.T) {
	for _, tt := range []struct {
		name string
		pods []budget.Usage
		want budget.Usage
	}{
		{"while nobody waits, what they use together", []budget.Usage{{Peak: 20}, {Peak: 1}}, budget.Usage{Peak: 21}},
		{"where clients wait at one, as much for the other", []budget.Usage{{Peak: 20, Starved: 5}, {Peak: 1}}, budget.Usage{Peak: 21, Starved: 29}},
		{"where clients wait at both, by the busier", []budget.Usage{{Peak: 20, Starved: 5}, {Peak: 20, Starved: 7}}, budget.Usage{Peak: 40, Starved: 14}},
		{"a pod that uses much but lets nobody wait is no measure", []budget.Usage{{Peak: 90}, {Peak: 10, Starved: 2}}, budget.Usage{Peak: 100, Starved: 2}},
		{"numbers below 0 are none", []budget.Usage{{Peak: -9, Starved: -9}}, budget.Usage{}},
		{"no pods", nil, budget.Usage{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := budget.UsageOf(tt.pods); got != tt.want {
				t.Errorf("UsageOf is %+v, want %+v", got, tt.want)
			}
		})
	}
}
