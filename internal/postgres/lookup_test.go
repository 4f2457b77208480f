// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"errors"
	"testing"

	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestTheFunctionThatLooksUsersUpIsCheckedAndInstalled(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	server.Exec(t, "create role seer login password '"+appPassword+"'", "create role admin login superuser password '"+appPassword+"'")
	observer := NewObserver(Options{})
	installation := lookup.Installation{User: "seer", Owner: "admin", Databases: []string{"shop"}}
	check := func(want lookup.Finding) {
		t.Helper()
		got, err := observer.CheckLookup(t.Context(), at(server, as("seer")), "admin")
		if got != want || err != nil {
			t.Errorf("the function is %s, %v, want %s", got, err, want)
		}
	}
	install := func(role string, i lookup.Installation, want lookup.Finding) {
		t.Helper()
		got, err := observer.InstallLookup(t.Context(), at(server, as(role)), i)
		if got != want || err != nil {
			t.Errorf("installing as %s comes to %s, %v, want %s", role, got, err, want)
		}
	}
	check(lookup.Missing)
	install("app", installation, lookup.Unreadable)
	install("admin", lookup.Installation{User: "nobody", Owner: "admin"}, lookup.Denied)
	check(lookup.Missing)
	install("admin", installation, lookup.Usable)
	check(lookup.Usable)
	shop := server.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	run := func(statement string) {
		t.Helper()
		if _, err := shop.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run("revoke execute on function poolfleet.find_user from seer")
	check(lookup.Denied)
	install("admin", installation, lookup.Usable)
	check(lookup.Usable)
	run("alter schema poolfleet owner to app")
	check(lookup.Foreign)
	install("admin", installation, lookup.Foreign)
	_ = shop.Close(t.Context())
	for left := server.Backends(t); len(left) != 0; left = server.Backends(t) {
		if left[0].Application == ApplicationName {
			t.Fatalf("still there: %+v", left)
		}
	}
}

func TestAVisitThatFailsSaysWhyAndHoldsNoPassword(t *testing.T) {
	t.Parallel()
	server := aServer(t, nil)
	for want, change := range map[Reason]func(*Source){
		AuthenticationFailed: func(s *Source) { s.Password = "wrong-" + appPassword },
		DatabaseMissing:      func(s *Source) { s.Database = "nowhere" },
		Unreachable:          func(s *Source) { s.Port = testenv.FreePort(t) },
	} {
		source := at(server, change)
		_, checked := NewObserver(Options{}).CheckLookup(t.Context(), source, "admin")
		_, installed := NewObserver(Options{}).InstallLookup(t.Context(), source, lookup.Installation{User: "app", Owner: "app"})
		for _, err := range []error{checked, installed} {
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
}
