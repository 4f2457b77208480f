// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/status"
)

// journey is what looks at one address came to, one after the other, and what poolers
// were told of it.
type journey struct {
	pool   *poolv1.ConnectionPool
	record Record
	told   string
	moves  int
}

// look is one at a server of the right kind or of the wrong one. A restarted operator
// knows only what poolers were told.
func (j *journey) look(address string, right bool) {
	seen := Record{Endpoint: "db:5432", ProbedAt: j.record.ProbedAt.Add(time.Minute), Observation: postgres.Observation{
		SystemIdentifier: "7", StartTime: time.Unix(1_700_000_000+int64(len(address)), 0), ServerAddress: address, ServerPort: 5432,
	}}
	if !right {
		seen.Problem = &status.Blocked{}
	}
	seen.Behind = behind(j.pool, j.record, seen)
	j.record = seen
	before := j.told
	if j.told = seen.Behind.name(before); before != "" && j.told != before {
		j.moves++
	}
}

func TestPoolersAreToldOfAStrayOnceAlsoByAnOperatorThatStartsAnew(t *testing.T) {
	t.Parallel()
	for _, target := range []poolv1.TargetSessionAttributes{"", poolv1.TargetReadWrite, poolv1.TargetReadOnly} {
		j := &journey{pool: &poolv1.ConnectionPool{}, record: Record{ProbedAt: time.Unix(1_800_000_000, 0)}}
		j.pool.Spec.Upstream.TargetSessionAttributes = target
		told := func(when string, want int) {
			t.Helper()
			if j.moves != want {
				t.Errorf("%q: after %s poolers were told to move %d times, want %d", target, when, j.moves, want)
			}
		}
		j.look("10.0.0.1", true)
		j.look("10.0.0.22", false)
		told("a server of the wrong kind came", 0)
		j.look("10.0.0.1", true)
		j.look("10.0.0.1", true)
		told("it went", 1)
		j.record = Record{ProbedAt: j.record.ProbedAt}
		j.look("10.0.0.1", true)
		told("a restart of the operator", 1)
		j.look("10.0.0.22", false)
		j.look("10.0.0.1", true)
		told("another stray", 2)
		j.look("10.0.0.22", false)
		j.look("10.0.0.22", true)
		want := 3
		if target == poolv1.TargetReadOnly {
			want = 2 // The connections to it are as good as any.
		}
		told("the server of the wrong kind came right", want)
	}
}
