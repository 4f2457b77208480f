// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestALimitIsPartedOnlyWhereARoleHasHadNothingForAWhile(t *testing.T) {
	pool := func(user string, waiting, active int32) pgbouncer.PoolState {
		return pgbouncer.PoolState{Database: "shop", User: user, ClientsWaiting: waiting, ServersActive: active}
	}
	hog, idle := pool("a", 9, 6), pgbouncer.PoolState{Database: "shop", User: "d", ServersIdle: 1}
	for name, c := range map[string]struct {
		pools []pgbouncer.PoolState
		after time.Duration
		limit int32
		want  pgbouncer.Limits
	}{
		"all have some":                    {[]pgbouncer.PoolState{hog, pool("b", 3, 1)}, 2 * time.Second, 7, pgbouncer.Limits{}},
		"one has waited but a moment":      {[]pgbouncer.PoolState{hog, pool("b", 3, 0)}, time.Second / 2, 6, pgbouncer.Limits{}},
		"one of two has nothing":           {[]pgbouncer.PoolState{hog, pool("b", 3, 0), idle}, 2 * time.Second, 6, pgbouncer.Limits{"shop": 3}},
		"there are more roles than room":   {[]pgbouncer.PoolState{hog, pool("b", 3, 0), pool("c", 1, 0)}, 2 * time.Second, 2, pgbouncer.Limits{"shop": 1}},
		"one connection can not be parted": {[]pgbouncer.PoolState{hog, pool("b", 3, 0)}, 2 * time.Second, 1, pgbouncer.Limits{}},
	} {
		sample, now := pgbouncer.Sample{Pools: c.pools}, time.Now()
		f := fairness{hungry: hungry(sample, nil, now)}
		now = now.Add(c.after)
		f.hungry = hungry(sample, f.hungry, now)
		if diff := cmp.Diff(c.want, f.parts(sample, pgbouncer.Limits{"shop": c.limit}, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
