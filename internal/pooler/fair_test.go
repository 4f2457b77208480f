// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestALimitIsPartedOnlyWhereARoleHasNothing(t *testing.T) {
	role := func(user string, waiting, active int32, wait time.Duration) pgbouncer.PoolState {
		return pgbouncer.PoolState{Database: "shop", User: user, ClientsWaiting: waiting, ServersActive: active, MaxWait: wait}
	}
	hog, idle := role("a", 9, 6, 2*time.Second), pgbouncer.PoolState{Database: "shop", User: "d", ServersIdle: 1}
	for name, c := range map[string]struct {
		pools []pgbouncer.PoolState
		limit int32
		want  pgbouncer.Limits
	}{
		"all have some":                    {[]pgbouncer.PoolState{hog, role("b", 3, 1, 2*time.Second)}, 7, pgbouncer.Limits{}},
		"one has waited but a moment":      {[]pgbouncer.PoolState{hog, role("b", 3, 0, time.Second/2)}, 6, pgbouncer.Limits{}},
		"one of two has nothing":           {[]pgbouncer.PoolState{hog, role("b", 3, 0, 2*time.Second), idle}, 6, pgbouncer.Limits{"shop": 3}},
		"there are more roles than room":   {[]pgbouncer.PoolState{hog, role("b", 3, 0, 2*time.Second), role("c", 1, 0, 0)}, 2, pgbouncer.Limits{"shop": 1}},
		"one connection can not be parted": {[]pgbouncer.PoolState{hog, role("b", 3, 0, 2*time.Second)}, 1, pgbouncer.Limits{}},
	} {
		got := partsOf(pgbouncer.Sample{Pools: c.pools}, pgbouncer.Limits{"shop": c.limit})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
