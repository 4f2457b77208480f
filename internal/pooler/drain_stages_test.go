// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestStagesOfADrainAreInProportionToIt(t *testing.T) {
	for _, timeout := range []time.Duration{10 * time.Second, time.Minute, time.Hour} {
		now := time.Now()
		d := departure{toldAt: now, deadline: now.Add(timeout)}
		for part, want := range map[time.Duration]string{0: "2", timeout / 13: "2", timeout / 11: "0.5", timeout / 5: "0.1", timeout * 2 / 5: "0.05", timeout * 3 / 5: "0.02", timeout * 3 / 4: "0.01", timeout: "0.005"} {
			if got := d.stage(now.Add(part)); got != want {
				t.Errorf("%s into %s: %s s, want %s", part, timeout, got, want)
			}
		}
	}
}

func TestWhatWasUsedLatelyIsNotGivenBack(t *testing.T) {
	now, inForce := time.Now(), pgbouncer.Limits{"a": 8, "b": 2}
	var d departure
	for _, c := range []struct {
		after  time.Duration
		active int32
		want   int32
	}{{0, 5, 5}, {time.Second, 0, 5}, {2 * time.Second, 3, 5}, {4 * time.Second, 0, 3}, {9 * time.Second, 0, 1}, {10 * time.Second, 20, 8}} {
		d.note(pgbouncer.Sample{Pools: []pgbouncer.PoolState{{Database: "a", ServersActive: c.active}}}, now.Add(c.after))
		if got := d.needed(inForce); got["a"] != c.want || got["b"] != 1 {
			t.Errorf("after %s: %v, want %d and 1", c.after, got, c.want)
		}
	}
}
