// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// disturbance is one kind of trouble.
type disturbance string

const (
	scalePool       disturbance = "scale a pool"
	rollPool        disturbance = "change the shape of a pool's pods"
	deletePod       disturbance = "delete a pooler's pod"
	forceDeletePod  disturbance = "delete a pooler's pod without grace"
	killPgBouncer   disturbance = "kill a PgBouncer"
	killPooler      disturbance = "kill a pooler's container"
	killManager     disturbance = "kill the manager"
	addManager      disturbance = "start a second manager without leader election"
	removeManager   disturbance = "end the second manager"
	reweighPool     disturbance = "change a pool's weight"
	capPool         disturbance = "change a pool's maximum"
	keepPool        disturbance = "change a pool's minimum"
	shrinkServer    disturbance = "lower max_connections and restart the server"
	growServer      disturbance = "raise max_connections and restart the server"
	changeDirect    disturbance = "change what is left to others"
	changeCeiling   disturbance = "change the ceiling of all pools"
	stormOfClients  disturbance = "have many clients connect at once"
	longTransaction disturbance = "hold transactions open"
)

// disturbances come once in each round, in any order.
var disturbances = []disturbance{
	scalePool, rollPool, deletePod, forceDeletePod, killPgBouncer, killPooler, killManager, reweighPool, capPool,
	keepPool, changeDirect, changeCeiling, stormOfClients, longTransaction,
}

// lasting disturbances begin in the first third of a round and end in the last.
var lasting = map[disturbance]disturbance{addManager: removeManager, shrinkServer: growServer}

// inRound is how many steps a round has.
var inRound = len(disturbances) + 2*len(lasting)

// step is one disturbance at its time.
type step struct {
	at   time.Duration
	kind disturbance
	// pool is which of the pools it is about, where it is about one.
	pool int
	// dice decide on whatever else there is to decide.
	dice [3]uint32
}

func (s step) String() string { return fmt.Sprintf("%5.1f s  %s", s.at.Seconds(), s.kind) }

// planned is the schedule of a seed: whole rounds, as many as a duration has room
// for at a disturbance every ten seconds, and at least one.
func planned(seed uint64, duration time.Duration, pools int) []step {
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := max(1, int(duration/(10*time.Second))/inRound)
	gap := duration / time.Duration(rounds*inRound)
	var steps []step
	for range rounds {
		for _, kind := range round(rng) {
			at := time.Duration(len(steps))*gap + time.Duration(rng.Int64N(int64(gap)))
			steps = append(steps, step{
				at: at, kind: kind, pool: rng.IntN(pools), dice: [3]uint32{rng.Uint32(), rng.Uint32(), rng.Uint32()},
			})
		}
	}
	return steps
}

// round is every disturbance once.
func round(rng *rand.Rand) []disturbance {
	order := slices.Clone(disturbances)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, begin := range slices.Sorted(maps.Keys(lasting)) {
		third := len(order) / 3
		order = slices.Insert(order, 2*third+rng.IntN(third), lasting[begin])
		order = slices.Insert(order, rng.IntN(third), begin)
	}
	return order
}

func TestAScheduleFollowsFromItsSeed(t *testing.T) {
	once, again := planned(7, 3*time.Minute, 3), planned(7, 3*time.Minute, 3)
	if diff := cmp.Diff(once, again, cmp.AllowUnexported(step{})); diff != "" {
		t.Errorf("two schedules of one seed differ:\n%s", diff)
	}
	if cmp.Equal(once, planned(8, 3*time.Minute, 3), cmp.AllowUnexported(step{})) {
		t.Error("two seeds have the same schedule")
	}
}

func TestEveryScheduleHasEveryDisturbanceInItsTime(t *testing.T) {
	for _, duration := range []time.Duration{time.Minute, 3 * time.Minute, 10 * time.Minute} {
		for seed := range uint64(50) {
			steps := planned(seed, duration, 3)
			seen := map[disturbance]int{}
			for i, s := range steps {
				seen[s.kind]++
				if s.at > duration || i > 0 && s.at < steps[i-1].at {
					t.Errorf("seed %d: %s comes out of its time, in %s", seed, s, duration)
				}
				if seen[removeManager] > seen[addManager] || seen[growServer] > seen[shrinkServer] {
					t.Errorf("seed %d: %s comes before its counterpart", seed, s)
				}
			}
			if len(seen) != inRound {
				t.Errorf("seed %d: %d kinds of disturbance in %s, want all %d", seed, len(seen), duration, inRound)
			}
		}
	}
}
