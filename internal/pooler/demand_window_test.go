// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestWhoIsStarvedInASample(t *testing.T) {
	for name, c := range map[string]struct {
		db   pgbouncer.DatabaseState
		pool pgbouncer.PoolState
		want int32
	}{
		"clients wait and all connections are taken":    {pgbouncer.DatabaseState{MaxConnections: 2, CurrentConnections: 2}, pgbouncer.PoolState{ClientsWaiting: 18, ServersActive: 2}, 18},
		"a lowered limit is not yet met":                {pgbouncer.DatabaseState{MaxConnections: 2, CurrentConnections: 3}, pgbouncer.PoolState{ClientsWaiting: 18, ServersActive: 3}, 18},
		"nobody waits":                                  {pgbouncer.DatabaseState{MaxConnections: 2, CurrentConnections: 2}, pgbouncer.PoolState{ServersActive: 2}, 0},
		"more connections may be opened":                {pgbouncer.DatabaseState{MaxConnections: 3, CurrentConnections: 2}, pgbouncer.PoolState{ClientsWaiting: 18, ServersActive: 2}, 0},
		"the last connection allowed is being opened":   {pgbouncer.DatabaseState{MaxConnections: 3, CurrentConnections: 3}, pgbouncer.PoolState{ClientsWaiting: 18, ServersActive: 2, InLogin: 1}, 17},
		"the only connection allowed is being opened":   {pgbouncer.DatabaseState{MaxConnections: 1, CurrentConnections: 1}, pgbouncer.PoolState{ClientsWaiting: 18, InLogin: 1}, 0},
		"the database is paused":                        {pgbouncer.DatabaseState{MaxConnections: 2, CurrentConnections: 2, Paused: true}, pgbouncer.PoolState{ClientsWaiting: 18, ServersActive: 2}, 0},
		"the server is away and no connection survived": {pgbouncer.DatabaseState{MaxConnections: 2}, pgbouncer.PoolState{ClientsWaiting: 18}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := needIn(pgbouncer.Sample{Databases: []pgbouncer.DatabaseState{c.db}, Pools: []pgbouncer.PoolState{c.pool}}, time.Now())
			want := map[string]int32{}
			if c.want > 0 {
				want[""] = c.want
			}
			if diff := cmp.Diff(want, got.starved); diff != "" || got.active != c.pool.ServersActive {
				t.Errorf("%d active, starved (-want +got):\n%s", got.active, diff)
			}
		})
	}
}

func TestOnlyWhoWaitsAllTheTimeIsStarvedAndPeaksAreForgotten(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(d time.Duration, active, a, b int32) need {
		return need{at: start.Add(d), active: active, starved: map[string]int32{"a": a, "b": b}}
	}
	var d demand
	d.note(at(0, 9, 5, 3))
	if got := d.starved(at(900*time.Millisecond, 0, 5, 3)); got != 0 {
		t.Errorf("%d are starved after less than a second", got)
	}
	d.note(at(500*time.Millisecond, 1, 2, 9))
	if got := d.starved(at(time.Second, 1, 5, 3)); got != 2+3 {
		t.Errorf("%d are starved, want the least of each database: 5", got)
	}
	d.note(at(time.Second, 1, 0, 3))
	if got := d.starved(at(1500*time.Millisecond, 1, 5, 3)); got != 3 {
		t.Errorf("%d are starved, want the 3 of the database that never served all", got)
	}
	if got := d.starved(at(1500*time.Millisecond, 1, 0, 0)); got != 0 {
		t.Errorf("%d are starved, and now nobody waits", got)
	}
	if got := d.peak(at(contract.DemandWindow, 2, 0, 0)); got != 9 {
		t.Errorf("the peak is %d, want 9", got)
	}
	if got := d.peak(at(contract.DemandWindow+time.Second, 2, 0, 0)); got != 2 {
		t.Errorf("the peak is %d, want 2: what came before is too long ago", got)
	}
	d.note(at(time.Hour, 1, 0, 0))
	if len(d.needs) != 1 {
		t.Errorf("%d samples are kept", len(d.needs))
	}
}
