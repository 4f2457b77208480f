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
		"itself":                         {one, one, true},
		"itself in another time zone":    {one, with(func(i *Identity) { i.StartTime = i.StartTime.In(time.FixedZone("x", 3600)) }), true},
		"itself through another address": {one, with(func(i *Identity) { i.Address = "10.0.0.2" }), true},
		"a replica, clone or branch":     {one, with(func(i *Identity) { i.StartTime = i.StartTime.Add(time.Microsecond) }), false},
		"other data, started together":   {one, with(func(i *Identity) { i.SystemIdentifier = "8" }), false},
		"unreadable, the rest agrees":    {blind, blind, true},
		"unreadable to one of two roles": {one, blind, true},
		"unreadable, another address":    {blind, with(func(i *Identity) { i.SystemIdentifier, i.Address = "", "10.0.0.2" }), false},
		"unreadable, another port":       {blind, with(func(i *Identity) { i.SystemIdentifier, i.Port = "", 5433 }), false},
		"other limits, which a server can not change while it runs": {
			with(func(i *Identity) { i.Slots.MaxConnections = 100 }), with(func(i *Identity) { i.Slots.MaxConnections = 90 }), false,
		},
		"limits known of one only":          {one, with(func(i *Identity) { i.Slots.MaxConnections = 90 }), true},
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
	promoted := observe(t, at(standby))
	if promoted.InRecovery || !promoted.Identity().Same(second.Identity()) {
		t.Errorf("a promotion made another server of it: %+v and %+v", second.Identity(), promoted.Identity())
	}
	if promoted.SystemIdentifier != first.SystemIdentifier || promoted.Identity().Same(first.Identity()) {
		t.Errorf("a server %+v and its clone %+v, both taking writes, count as one", first.Identity(), promoted.Identity())
	}

	primary.Restart(t)
	if again := observe(t, at(primary)); again.Identity().Same(first.Identity()) || again.SystemIdentifier != first.SystemIdentifier {
		t.Errorf("after a restart: %+v, before it: %+v", again.Identity(), first.Identity())
	}
}

func TestOneServerIsKnownThroughEveryAddress(t *testing.T) {
	t.Parallel()
	server := aServer(t, map[string]string{"listen_addresses": "127.0.0.1,127.0.0.2"},
		testenv.WithHBA("host all all 127.0.0.0/8 scram-sha-256"))
	through := func(host string, changes ...func(*Source)) Identity {
		return observe(t, at(server, append(changes, func(s *Source) { s.Host = host })...)).Identity()
	}
	first, second := through("127.0.0.1"), through("127.0.0.2")
	if first.Address == second.Address || !first.Same(second) {
		t.Errorf("%+v and %+v count as two servers", first, second)
	}
	if named := through(localhost); !named.Same(first) || !named.Same(second) {
		t.Errorf("%+v counts as another server than %+v and %+v", named, first, second)
	}

	admin := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	if _, err := admin.Exec(t.Context(), `revoke execute on function pg_control_system() from public`); err != nil {
		t.Fatal(err)
	}
	blind, blinder := through("127.0.0.1"), through("127.0.0.2")
	if blind.SystemIdentifier != "" || !blind.Same(through("127.0.0.1")) || !blind.Same(first) {
		t.Errorf("without its identifier %+v is not known again at one address", blind)
	}
	if blind.Same(blinder) {
		t.Error("two addresses that show no identifier count as one server")
	}
}
