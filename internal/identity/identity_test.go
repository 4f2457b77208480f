// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/postgres"
)

var epoch = time.Unix(1_800_000_000, 0)

// at is a time, in seconds from the test's beginning.
func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// server is an identity that differs by its name and by the second it started in.
func server(name string, started int) postgres.Identity {
	return postgres.Identity{SystemIdentifier: name, StartTime: at(started - 1000), Version: "18.1", Address: "10.0.0.1", Port: 5432}
}

// saw is a look that began at a time, at a server that was first seen there since.
func saw(endpoint string, identity postgres.Identity, began, since int) Sight {
	return Sight{Endpoint: endpoint, Identity: identity, Answered: true, Began: at(began), Since: at(since)}
}

// failed is a look that failed, where a server was seen before.
func failed(endpoint string, identity postgres.Identity, began int) Sight {
	return Sight{Endpoint: endpoint, Identity: identity, Began: at(began)}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	old, fresh, third := server("7", 1), server("7", 2), server("8", 3)
	blind := old
	blind.SystemIdentifier = ""
	mute := blind
	mute.Address = ""
	cases := map[string]struct {
		recorded postgres.Identity
		sights   []Sight
		now      int
		want     Verdict
	}{
		"all endpoints agree": {
			old, []Sight{saw("a", old, 10, 0), saw("b", old, 70, 0)}, 71, Verdict{Identity: old},
		},
		"a new Upstream is what is seen first": {
			postgres.Identity{}, []Sight{saw("a", old, 1, 2)}, 3, Verdict{Identity: old},
		},
		"nothing answers": {
			old, []Sight{failed("a", old, 10), {Endpoint: "b"}}, 11, Verdict{Identity: old},
		},
		"the only endpoint shows another server": {
			old, []Sight{saw("a", fresh, 10, 11)}, 12, Verdict{Identity: fresh},
		},
		"one shows another, the other was not looked at since": {
			old,
			[]Sight{saw("a", fresh, 10, 11), saw("b", old, 9, 0)},
			12,
			Verdict{Identity: old, Ask: map[string]time.Time{"b": at(11)}},
		},
		"a look that began before the difference showed is not together with it": {
			old,
			[]Sight{saw("a", fresh, 10, 12), saw("b", old, 11, 0)},
			13,
			Verdict{Identity: old, Ask: map[string]time.Time{"b": at(12)}},
		},
		"all moved together": {
			old, []Sight{saw("a", fresh, 10, 11), saw("b", fresh, 12, 13)}, 14, Verdict{Identity: fresh},
		},
		"some moved": {
			old, []Sight{saw("a", fresh, 10, 11), saw("b", old, 12, 0)}, 14, Verdict{Identity: old, Leave: []string{"a"}},
		},
		"all moved, twice, and one was not looked at after the second time": {
			old,
			[]Sight{saw("a", fresh, 10, 11), saw("b", third, 12, 13)},
			14,
			Verdict{Identity: old, Ask: map[string]time.Time{"a": at(13)}},
		},
		"all moved, to different servers, and the leading endpoint keeps the Upstream": {
			old, []Sight{saw("a", fresh, 14, 11), saw("z", third, 12, 13)}, 15, Verdict{Identity: third, Leave: []string{"a"}},
		},
		"one that does not answer proves nothing": {
			old, []Sight{saw("a", fresh, 10, 11), failed("b", old, 12)}, 13, Verdict{Identity: fresh},
		},
		"one that was never looked at is waited for": {
			old,
			[]Sight{saw("a", fresh, 10, 11), {Endpoint: "b", Identity: old}},
			12,
			Verdict{Identity: old, Ask: map[string]time.Time{"b": at(11)}},
		},
		"but not for ever": {
			old, []Sight{saw("a", fresh, 10, 11), {Endpoint: "b", Identity: old}}, 31, Verdict{Identity: fresh},
		},
		"a role that is refused says nothing of an endpoint": {
			old,
			[]Sight{saw("a", fresh, 10, 11), failed("a", old, 12), saw("b", old, 12, 0)},
			13,
			Verdict{Identity: old, Leave: []string{"a"}},
		},
		"looks of two roles, one of which can not read the identifier": {
			old, []Sight{saw("a", blind, 10, 0), saw("b", old, 9, 0)}, 11, Verdict{Identity: old},
		},
		"a server that tells too little to be found under another name": {
			mute, []Sight{saw("a", mute, 10, 0)}, 11, Verdict{Identity: mute},
		},
		"an identifier that becomes readable": {
			blind, []Sight{saw("a", old, 10, 0)}, 11, Verdict{Identity: old},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Judge(Server{Identity: c.recorded, Leading: "z"}, c.sights, at(c.now))
			if len(got.Ask) == 0 {
				got.Ask = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsWrittenAnewIsNotOverruledByAnOlderLook(t *testing.T) {
	t.Parallel()
	old, fresh := server("7", 1), server("7", 2)
	got := Judge(Server{Identity: fresh, Since: at(10)}, []Sight{saw("a", old, 5, 0)}, at(11))
	if diff := cmp.Diff(map[string]time.Time{"a": at(10)}, got.Ask); diff != "" || !got.Identity.Same(fresh) {
		t.Errorf("identity %+v; asked (-want +got):\n%s", got.Identity, diff)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	one, clone := server("7", 1), server("7", 2)
	cases := map[string]struct {
		ours, theirs Sight
		now          int
		want         Proof
		ask          map[string]time.Time
	}{
		"a server and its clone":                  {saw("a", one, 10, 5), saw("b", clone, 10, 5), 11, Different, nil},
		"looked at together":                      {saw("a", one, 10, 5), saw("b", one, 10, 5), 11, Same, nil},
		"the elder was not looked at since":       {saw("a", one, 10, 11), saw("b", one, 9, 0), 12, Undecided, map[string]time.Time{"b": at(11)}},
		"and now it was":                          {saw("a", one, 10, 11), saw("b", one, 12, 0), 13, Same, nil},
		"the elder does not answer":               {saw("a", one, 10, 11), failed("b", one, 12), 13, Different, nil},
		"the elder was never looked at":           {saw("a", one, 10, 11), Sight{Endpoint: "b", Identity: one}, 12, Undecided, map[string]time.Time{"b": at(11)}},
		"the elder is not looked at for too long": {saw("a", one, 10, 11), saw("b", one, 9, 0), 31, Different, nil},
		"nothing is known of either":              {Sight{Endpoint: "a"}, Sight{Endpoint: "b"}, 1, Different, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pair := range [][2]Sight{{c.ours, c.theirs}, {c.theirs, c.ours}} {
				got, ask := Compare([]Sight{pair[0]}, []Sight{pair[1]}, at(c.now))
				if len(ask) == 0 {
					ask = nil
				}
				if diff := cmp.Diff(c.ask, ask); got != c.want || diff != "" {
					t.Errorf("got %v, want %v; asked (-want +got):\n%s", got, c.want, diff)
				}
			}
		})
	}
}
