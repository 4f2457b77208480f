// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestSame(t *testing.T) {
	t.Parallel()
	one := Identity{SystemIdentifier: "7", StartTime: time.Unix(1_700_000_000, 5000), Address: "10.0.0.1", Port: 5432, Version: "18.1"}
	with := func(change func(*Identity)) Identity {
		changed := one
		change(&changed)
		return changed
	}
	blind := with(func(i *Identity) { i.SystemIdentifier = "" })
	tests := map[string]struct {
		a, b Identity
		want bool
	}{
		"itself":                            {one, one, true},
		"itself in another time zone":       {one, with(func(i *Identity) { i.StartTime = i.StartTime.In(time.FixedZone("x", 3600)) }), true},
		"itself through another address":    {one, with(func(i *Identity) { i.Address = "10.0.0.2" }), true},
		"a replica, clone or branch":        {one, with(func(i *Identity) { i.StartTime = i.StartTime.Add(time.Microsecond) }), false},
		"other data, started together":      {one, with(func(i *Identity) { i.SystemIdentifier = "8" }), false},
		"unreadable, the rest agrees":       {blind, blind, true},
		"unreadable to one of two roles":    {one, blind, true},
		"unreadable, another address":       {blind, with(func(i *Identity) { i.SystemIdentifier, i.Address = "", "10.0.0.2" }), false},
		"unreadable, another port":          {blind, with(func(i *Identity) { i.SystemIdentifier, i.Port = "", 5433 }), false},
		"unreadable, another version":       {blind, with(func(i *Identity) { i.SystemIdentifier, i.Version = "", "18.2" }), false},
		"unreadable, and without addresses": {with(func(i *Identity) { i.SystemIdentifier, i.Address = "", "" }), with(func(i *Identity) { i.SystemIdentifier, i.Address = "", "" }), false},
		"nothing known of either":           {Identity{}, Identity{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.a.Same(test.b) != test.want || test.b.Same(test.a) != test.want {
				t.Errorf("got %v and %v, want %v", test.a.Same(test.b), test.b.Same(test.a), test.want)
			}
		})
	}
}

func TestRealServersAreToldApart(t *testing.T) {
	t.Parallel()
	primary := aServer(t, nil)
	standby := testenv.Standby(t, primary)
	first, second := observe(t, at(primary)), observe(t, at(standby))
	if !second.InRecovery || first.SystemIdentifier != second.SystemIdentifier {
		t.Errorf("the standby is in recovery: %v; identifiers %s and %s", second.InRecovery, first.SystemIdentifier, second.SystemIdentifier)
	}
	if first.Identity().Same(second.Identity()) {
		t.Error("a primary and its standby count as one server")
	}
	byName := observe(t, at(primary, func(s *Source) { s.Host = localhost }))
	if !first.Identity().Same(byName.Identity()) {
		t.Error("two names of one server count as two servers")
	}

	standby.Exec(t, `select pg_promote()`)
	if promoted := observe(t, at(standby)); promoted.InRecovery || !promoted.Identity().Same(second.Identity()) {
		t.Errorf("a promotion made another server of it: %+v and %+v", second.Identity(), promoted.Identity())
	}

	primary.Restart(t)
	if again := observe(t, at(primary)); again.Identity().Same(first.Identity()) || again.SystemIdentifier != first.SystemIdentifier {
		t.Errorf("after a restart: %+v, before it: %+v", again.Identity(), first.Identity())
	}
}
