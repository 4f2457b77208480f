// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// A scene is a ledger and the facts of one pass, written as short as it reads:
// pods are named <pool>-<something>, and their UIDs are their names.
type scene struct {
	ledger budget.Ledger
	facts  budget.Facts
}

func aScene(connections int32, claims ...budget.Claim) *scene {
	return &scene{facts: budget.Facts{Budget: connections, Reachable: true, Claims: claims, Absent: map[string]bool{}}}
}

func poolOf(pod string) string {
	pool, _, _ := strings.Cut(pod, "-")
	return pool
}

// entry adds what the ledger has on a pod; the ledger's number follows.
func (s *scene) entry(pod string, gen int64, granted, held int32) *scene {
	s.ledger.Gen = max(s.ledger.Gen, gen)
	s.ledger.Entries = append(s.ledger.Entries, budget.Entry{
		UID: pod, Namespace: "apps", Pod: pod, Pool: poolOf(pod), Gen: gen, Granted: granted, Held: held,
		Peer: int32(len(s.ledger.Entries) + 1),
	})
	return s
}

type podOption func(*budget.Pod)

// pod adds a ready pod that does not answer. Later ones are younger.
func (s *scene) pod(name string, options ...podOption) *scene {
	p := budget.Pod{UID: name, Namespace: "apps", Name: name, Pool: poolOf(name), Created: int64(len(s.facts.Pods)), Ready: true}
	for _, o := range options {
		o(&p)
	}
	s.facts.Pods = append(s.facts.Pods, p)
	return s
}

// settled adds a pod that runs what it was granted and has said so.
func (s *scene) settled(name string, gen int64, share int32, options ...podOption) *scene {
	return s.entry(name, gen, share, share).pod(name, append([]podOption{saying(gen, share, share)}, options...)...)
}

func saying(gen int64, limit, current int32) podOption {
	return func(p *budget.Pod) { p.Ack = &budget.Ack{Gen: gen, Cap: limit, Current: current} }
}

func draining(gen int64, limit, current int32) podOption {
	return func(p *budget.Pod) { p.Ack = &budget.Ack{Gen: gen, Cap: limit, Current: current, Draining: true} }
}

func toldHolding(gen int64, share, held int32) func(*budget.Pod) {
	return func(p *budget.Pod) { p.Told = &budget.Told{Gen: gen, Share: share, Held: held} }
}

func told(gen int64, share int32) podOption {
	return func(p *budget.Pod) { p.Told = &budget.Told{Gen: gen, Share: share} }
}

func inTheSameSecond(p *budget.Pod)       { p.Created = 0 }
func anotherTemplate(p *budget.Pod)       { p.Template = "another" }
func address(ip string) podOption         { return func(p *budget.Pod) { p.Address = ip } }
func terminating(p *budget.Pod)           { p.Terminating, p.Ready = true, false }
func terminated(p *budget.Pod)            { p.Terminated, p.Ready = true, false }
func unready(p *budget.Pod)               { p.Ready = false }
func pending(p *budget.Pod)               { p.Pending, p.Ready = true, false }
func coming(p *budget.Pod)                { p.Pending, p.Coming, p.Ready = true, true, false }
func overdue(p *budget.Pod)               { p.Overdue, p.Ready = true, false }
func (s *scene) silent() *scene           { s.facts.Reachable = false; return s }
func (s *scene) gone(p string) *scene     { s.facts.Absent[p] = true; return s }
func (s *scene) strangers(n int32) *scene { s.facts.Unattributed = n; return s }

// show writes an entry as gen:granted/held.
func show(l budget.Ledger) map[string]string {
	got := map[string]string{}
	for _, e := range l.Entries {
		got[e.Pod] = fmt.Sprintf("%d:%d/%d", e.Gen, e.Granted, e.Held)
	}
	return got
}

func TestNext(t *testing.T) {
	shop := func(options ...option) budget.Claim { return aPool("shop", options...) }
	tests := []struct {
		name  string
		scene *scene
		// want is gen:granted/held of each entry.
		want map[string]string
	}{
		{
			"the first pod gets all",
			aScene(10, shop()).pod("shop-a", unready),
			map[string]string{"shop-a": "1:10/10"},
		},
		{
			"the first of two that start is not granted what the second will get in a moment",
			aScene(11, shop()).pod("shop-a", unready).pod("shop-b", coming),
			map[string]string{"shop-a": "1:6/6"},
		},
		{
			"a pod that runs gives nothing up for one that is only coming",
			aScene(10, shop()).settled("shop-a", 1, 10).pod("shop-b", coming),
			map[string]string{"shop-a": "1:10/10"},
		},
		{
			"more that come than there are floors take none of them",
			aScene(2, shop()).pod("shop-a", unready).pod("shop-b", coming).pod("shop-c", coming).pod("shop-d", coming),
			map[string]string{"shop-a": "1:1/1"},
		},
		{
			"a second pod waits until the first has let go",
			aScene(10, shop()).settled("shop-a", 1, 10).pod("shop-b", unready),
			map[string]string{"shop-a": "2:5/10"},
		},
		{
			"what was let go is granted",
			aScene(10, shop()).entry("shop-a", 2, 5, 10).pod("shop-a", saying(2, 5, 5)).pod("shop-b", unready),
			map[string]string{"shop-a": "2:5/5", "shop-b": "3:5/5"},
		},
		{
			"an acknowledgement of an older grant releases nothing",
			aScene(10, shop()).entry("shop-a", 2, 5, 10).pod("shop-a", saying(1, 5, 5)).pod("shop-b", unready),
			map[string]string{"shop-a": "2:5/10"},
		},
		{
			"a limit that is lowered releases nothing while more connections are open",
			aScene(10, shop()).entry("shop-a", 2, 5, 10).pod("shop-a", saying(2, 5, 6)).pod("shop-b", unready),
			map[string]string{"shop-a": "2:5/10"},
		},
		{
			"connections of no known pod keep their room",
			aScene(10, shop()).entry("shop-a", 2, 5, 5).pod("shop-a").pod("shop-b", unready).strangers(3),
			map[string]string{"shop-a": "2:5/5", "shop-b": "3:2/2"},
		},
		{
			"a first grant is a floor, or it waits",
			aScene(10, shop(floor(3))).entry("shop-a", 2, 5, 8).pod("shop-a").pod("shop-b", unready),
			map[string]string{"shop-a": "2:5/8"},
		},
		{
			"while more is held than there is, nobody is raised, even into what it holds",
			aScene(8, shop()).entry("shop-a", 2, 2, 10).pod("shop-a"),
			map[string]string{"shop-a": "2:2/10"},
		},
		{
			"a pod that was not seen keeps its entry",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 5),
			map[string]string{"shop-a": "1:5/5", "shop-b": "1:5/5"},
		},
		{
			"a pod that is proved gone is freed, whatever the cache says",
			aScene(10, shop()).settled("shop-a", 1, 5).settled("shop-b", 1, 5).gone("shop-b"),
			map[string]string{"shop-a": "2:10/10"},
		},
		{
			"a pod whose containers have ended is freed",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 5).pod("shop-b", terminated),
			map[string]string{"shop-a": "2:10/10"},
		},
		{
			"a pod that drains keeps its grant, and what it gives back is granted",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 5).pod("shop-b", terminating, draining(1, 2, 1)),
			map[string]string{"shop-a": "2:8/8", "shop-b": "1:5/2"},
		},
		{
			"a drained PgBouncer that is off gives nothing back: its container may start again",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 5).pod("shop-b", unready, draining(1, 0, 0)),
			map[string]string{"shop-a": "1:5/5", "shop-b": "1:5/5"},
		},
		{
			"a container that came back with less than its grant is granted it anew",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 5).pod("shop-b", saying(1, 2, 0)),
			map[string]string{"shop-a": "1:5/5", "shop-b": "2:5/5"},
		},
		{
			"a container that came back after it gave back is raised again",
			aScene(10, shop()).settled("shop-a", 1, 5).entry("shop-b", 1, 5, 2).pod("shop-b", saying(1, 2, 0)),
			map[string]string{"shop-a": "1:5/5", "shop-b": "2:5/5"},
		},
		{
			"what drains counts against its own pool",
			aScene(20, aPool("a"), aPool("b")).settled("a-1", 1, 4).entry("a-2", 1, 6, 6).pod("a-2", terminating).settled("b-1", 1, 10),
			map[string]string{"a-1": "1:4/4", "a-2": "1:6/6", "b-1": "1:10/10"},
		},
		{
			"a pool of which everything drains gets a floor from the others",
			aScene(20, aPool("a"), aPool("b")).entry("a-1", 1, 10, 10).pod("a-1", terminating).pod("a-2", unready).settled("b-1", 1, 10),
			map[string]string{"a-1": "1:10/10", "b-1": "2:9/10"},
		},
		{
			"the oldest makes way for a new pod where all have their floor",
			aScene(4, shop(floor(2))).settled("shop-a", 1, 2).settled("shop-b", 2, 2).pod("shop-c", unready),
			map[string]string{"shop-a": "3:0/2", "shop-b": "2:2/2"},
		},
		{
			"while a new pod is not ready, no second one makes way",
			aScene(4, shop(floor(2))).settled("shop-b", 2, 2).settled("shop-c", 4, 2, unready).pod("shop-d", unready),
			map[string]string{"shop-b": "2:2/2", "shop-c": "4:2/2"},
		},
		{
			"where none serves, the newest gets its try",
			aScene(2, shop(floor(2))).settled("shop-b", 2, 2, unready).pod("shop-c", unready),
			map[string]string{"shop-b": "3:0/2"},
		},
		{
			"nobody makes way for the replacement of a pod that drains: its floor is coming",
			aScene(4, shop(floor(2))).settled("shop-a", 1, 2).entry("shop-b", 2, 2, 2).pod("shop-b", terminating).pod("shop-c", unready),
			map[string]string{"shop-a": "1:2/2", "shop-b": "2:2/2"},
		},
		{
			"a pod that should be gone and is not holds up no rollout",
			aScene(4, shop(floor(2))).settled("shop-a", 1, 2).entry("shop-b", 2, 2, 2).pod("shop-b", terminating, overdue).pod("shop-c", unready),
			map[string]string{"shop-a": "3:0/2", "shop-b": "2:2/2"},
		},
		{
			"a pod parked in favour of one that does not get ready is taken back",
			aScene(4, shop(floor(2))).settled("shop-a", 3, 0, unready).settled("shop-b", 2, 2).settled("shop-c", 4, 2, overdue),
			map[string]string{"shop-a": "3:0/0", "shop-b": "2:2/2", "shop-c": "5:0/2"},
		},
		{
			"and is granted its floor when that has let go",
			aScene(4, shop(floor(2))).settled("shop-a", 3, 0, overdue).settled("shop-b", 2, 2).entry("shop-c", 5, 0, 2).pod("shop-c", overdue, saying(5, 0, 0)),
			map[string]string{"shop-a": "6:2/2", "shop-b": "2:2/2", "shop-c": "5:0/0"},
		},
		{
			"a parked pod that is overdue by now is taken back from a younger one",
			aScene(2, shop(floor(2))).settled("shop-a", 3, 0, overdue).settled("shop-b", 4, 2, overdue),
			map[string]string{"shop-a": "3:0/0", "shop-b": "5:0/2"},
		},
		{
			"but the younger one not from it, while it gets ready again",
			aScene(2, shop(floor(2))).settled("shop-a", 6, 2, overdue).settled("shop-b", 5, 0, overdue),
			map[string]string{"shop-a": "6:2/2", "shop-b": "5:0/0"},
		},
		{
			"nor does it get the place first that is free between the two",
			aScene(2, shop(floor(2))).settled("shop-a", 3, 0, overdue).settled("shop-b", 5, 0, overdue),
			map[string]string{"shop-a": "6:2/2", "shop-b": "5:0/0"},
		},
		{
			"a pool keeps its floor, however much drains",
			aScene(10, shop(floor(2))).settled("shop-a", 1, 3).entry("shop-b", 1, 20, 20).pod("shop-b", terminating),
			map[string]string{"shop-a": "2:2/3", "shop-b": "1:20/20"},
		},
		{
			"of pods of the same second, one of another template displaces",
			aScene(2, shop(floor(2))).settled("shop-b", 1, 2, inTheSameSecond).pod("shop-a", unready, inTheSameSecond, anotherTemplate),
			map[string]string{"shop-b": "2:0/2"},
		},
		{
			"and one of the same does not",
			aScene(2, shop(floor(2))).settled("shop-b", 1, 2, inTheSameSecond).pod("shop-a", unready, inTheSameSecond),
			map[string]string{"shop-b": "1:2/2"},
		},
		{
			"and one that has had its turn comes back only when the other has had its own",
			aScene(2, shop(floor(2))).settled("shop-b", 3, 0, unready, inTheSameSecond).settled("shop-a", 4, 2, unready, inTheSameSecond, anotherTemplate),
			map[string]string{"shop-b": "3:0/0", "shop-a": "4:2/2"},
		},
		{
			"then it does: which of the two is the newer is not known",
			aScene(2, shop(floor(2))).settled("shop-b", 3, 0, unready, inTheSameSecond).settled("shop-a", 4, 2, inTheSameSecond, anotherTemplate),
			map[string]string{"shop-b": "3:0/0", "shop-a": "5:0/2"},
		},
		{
			"one of another template than a sibling of the same second makes way, whichever comes first by name",
			aScene(4, shop(floor(2))).settled("shop-b", 1, 2, inTheSameSecond, anotherTemplate).settled("shop-c", 1, 2, inTheSameSecond).
				pod("shop-d", unready, inTheSameSecond, anotherTemplate),
			map[string]string{"shop-b": "1:2/2", "shop-c": "2:0/2"},
		},
		{
			"of pods of the same second that were parked, the one whose turn is longer ago comes first",
			aScene(4, shop(floor(2))).settled("shop-a", 9, 0, unready, inTheSameSecond).settled("shop-b", 6, 0, unready, inTheSameSecond, anotherTemplate).
				settled("shop-c", 7, 2),
			map[string]string{"shop-a": "9:0/0", "shop-b": "10:2/2", "shop-c": "7:2/2"},
		},
		{
			"one that is parked because fewer fit is the only one that goes in that pass",
			aScene(3, shop(floor(2))).settled("shop-a", 1, 2).settled("shop-b", 1, 2).pod("shop-c", unready),
			map[string]string{"shop-a": "2:0/2", "shop-b": "1:2/2"},
		},
		{
			"an odd connection stays where it is",
			aScene(9, shop()).settled("shop-a", 1, 4).settled("shop-b", 1, 5),
			map[string]string{"shop-a": "1:4/4", "shop-b": "1:5/5"},
		},
		{
			"a new pool, though first by name, does not cut off one that serves",
			aScene(3, aPool("a", floor(2)), aPool("b", floor(2))).pod("a-1", unready).settled("b-1", 1, 3),
			map[string]string{"b-1": "1:3/3"},
		},
		{
			"a pool whose pods do not start lends its share",
			aScene(10, aPool("a"), aPool("b")).pod("a-1", pending).settled("b-1", 1, 10),
			map[string]string{"b-1": "1:10/10"},
		},
		{
			"a silent server: nothing moves from one pod to another",
			aScene(10, shop()).settled("shop-a", 1, 2).settled("shop-b", 1, 8).pod("shop-c", unready).silent(),
			map[string]string{"shop-a": "1:2/2", "shop-b": "1:8/8"},
		},
		{
			"a silent server: a maximum that was lowered shrinks, and pods with less keep it",
			aScene(10, shop(maximum(6))).settled("shop-a", 1, 2).settled("shop-b", 1, 8).silent(),
			map[string]string{"shop-a": "1:2/2", "shop-b": "2:3/8"},
		},
		{
			"a silent server: a floor that was raised parks nobody",
			aScene(10, shop(floor(6))).settled("shop-a", 1, 2).settled("shop-b", 1, 2).silent(),
			map[string]string{"shop-a": "1:2/2", "shop-b": "1:2/2"},
		},
		{
			"a role's limit holds for what is held under it, too",
			aScene(20, aPool("a", role("app", 10)), aPool("b", role("app", 10))).entry("a-1", 2, 5, 10).pod("a-1").pod("b-1", unready),
			map[string]string{"a-1": "2:5/10"},
		},
		{
			"a new pool waits while its minimum does not fit beside those of pools that run, and cuts nobody",
			aScene(20, aPool("a", minimum(8)), aPool("b", minimum(13))).settled("b-1", 1, 20).pod("a-1", unready),
			map[string]string{"b-1": "1:20/20"},
		},
		{
			"a new pool whose minimum fits starts with it, from what others have beyond theirs",
			aScene(20, aPool("a", minimum(7)), aPool("b", minimum(13), weighing(10000))).settled("b-1", 1, 20).pod("a-1", unready),
			map[string]string{"b-1": "2:13/20"},
		},
		{
			"where the minimums of pools that run do not fit any more, they share by weight and nobody is cut off",
			aScene(9, aPool("a", minimum(10), weighing(200)), aPool("b", minimum(10))).settled("a-1", 1, 10).settled("b-1", 1, 10),
			map[string]string{"a-1": "2:6/10", "b-1": "2:3/10"},
		},
		{
			"a pool whose only pod has made way for a new one still goes before new pools and the minimums of others",
			aScene(12, aPool("a", floor(6), minimum(10)), aPool("b", minimum(10))).settled("a-1", 3, 0, unready).pod("a-2", unready).settled("b-1", 2, 6),
			map[string]string{"a-1": "3:0/0", "a-2": "4:6/6", "b-1": "2:6/6"},
		},
		{
			"a pool whose clients wait borrows what another leaves idle, as it is let go",
			aScene(20, aPool("a", needs(4)), aPool("b", needs(15))).settled("a-1", 1, 10).settled("b-1", 1, 10),
			map[string]string{"a-1": "2:5/10", "b-1": "1:10/10"},
		},
		{
			"a pool that needs what it lent gets it back as it is let go",
			aScene(20, aPool("a", needs(9)), aPool("b", needs(90))).settled("a-1", 1, 4).settled("b-1", 1, 16),
			map[string]string{"a-1": "1:4/4", "b-1": "2:11/16"},
		},
		{
			"a pool that lends takes back a floor for a pod of a rollout",
			aScene(12, aPool("a", needs(0), floor(2), replicas(1)), aPool("b", needs(90))).settled("a-1", 1, 2).pod("a-2", unready).settled("b-1", 1, 10),
			map[string]string{"a-1": "1:2/2", "b-1": "2:8/10"},
		},
		{
			"a silent server: loans stay as they are, whatever is needed",
			aScene(20, aPool("a", needs(9)), aPool("b", needs(1))).settled("a-1", 1, 4).settled("b-1", 1, 16).silent(),
			map[string]string{"a-1": "1:4/4", "b-1": "1:16/16"},
		},
		{
			"a silent server: where a limit that was lowered cuts, nobody lends",
			aScene(10, aPool("a", needs(10)), aPool("b", needs(1))).settled("a-1", 1, 10).settled("b-1", 1, 5).silent(),
			map[string]string{"a-1": "2:5/10", "b-1": "1:5/5"},
		},
		{
			"a pool that once ran, though first by name, does not cut off one that serves",
			aScene(3, aPool("a", floor(2)), aPool("b", floor(2))).settled("a-1", 2, 0, unready).settled("b-1", 1, 3),
			map[string]string{"a-1": "2:0/0", "b-1": "1:3/3"},
		},
		{
			"what a pool without a claim still holds counts for its namespace",
			aScene(20, aPool("shop", in("apps", 0, 10))).settled("shop-a", 1, 4).settled("other-a", 1, 6),
			map[string]string{"shop-a": "1:4/4", "other-a": "1:6/6"},
		},
		{
			"entries of a pool without a claim are left alone",
			aScene(10, shop()).settled("shop-a", 1, 4).settled("other-a", 1, 6),
			map[string]string{"shop-a": "1:4/4", "other-a": "1:6/6"},
		},
		{
			"entries of a pool of no replicas are left alone",
			aScene(10, shop(replicas(0))).settled("shop-a", 1, 4),
			map[string]string{"shop-a": "1:4/4"},
		},
		{
			"a pod waits for an address that another still has",
			aScene(10, shop()).entry("shop-a", 1, 5, 5).pod("shop-a", terminating, address("10.0.0.7")).pod("shop-b", unready, address("10.0.0.7")),
			map[string]string{"shop-a": "1:5/5"},
		},
		{
			"a lost ledger is put together from what pods were told and what they run",
			aScene(10, shop()).pod("shop-a", told(7, 3), saying(6, 5, 5)).pod("shop-b", saying(9, 4, 2)),
			map[string]string{"shop-a": "10:5/5", "shop-b": "10:5/5"},
		},
		{
			"a lost ledger counts what a silent pod may hold by grants before its newest",
			aScene(10, shop()).pod("shop-a", toldHolding(7, 2, 8)).pod("shop-b", unready),
			map[string]string{"shop-a": "8:5/8", "shop-b": "8:2/2"},
		},
		{
			"what a lost ledger forgot is found before anything is raised",
			aScene(10, shop()).pod("shop-a", told(7, 10)).pod("shop-b", unready),
			map[string]string{"shop-a": "8:5/10"},
		},
		{
			"a number that nobody can have given is not believed",
			aScene(10, shop()).settled("shop-a", 1, 10, told(1<<62, 1), saying(1<<62, 1, 1)),
			map[string]string{"shop-a": "1:10/10"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, _ := budget.Next(tt.scene.ledger, tt.scene.facts)
			if diff := cmp.Diff(tt.want, show(next)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAChangeOfTheConfigurationAloneIsANewGrantOfTheSameShare(t *testing.T) {
	claim := aPool("shop")
	claim.Config = "new"
	s := aScene(10, claim).settled("shop-a", 1, 5).settled("shop-b", 1, 5).silent()
	s.ledger.Entries[1].Config = "new"
	next, _ := budget.Next(s.ledger, s.facts)
	want := []budget.Entry{
		{UID: "shop-a", Namespace: "apps", Pod: "shop-a", Pool: "shop", Gen: 2, Granted: 5, Held: 5, Config: "new", Peer: 1},
		{UID: "shop-b", Namespace: "apps", Pod: "shop-b", Pool: "shop", Gen: 1, Granted: 5, Held: 5, Config: "new", Peer: 2},
	}
	if diff := cmp.Diff(budget.Ledger{Gen: 2, Entries: want}, next); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

func TestASettledLedgerComesBackAsItWas(t *testing.T) {
	settled := aScene(10, aPool("shop")).settled("shop-a", 1, 5).settled("shop-b", 1, 5)
	for name, ledger := range map[string]budget.Ledger{
		"with entries":     settled.ledger,
		"with none":        {Gen: 3},
		"with none at all": {Gen: 3, Entries: []budget.Entry{}},
	} {
		facts := settled.facts
		if len(ledger.Entries) == 0 {
			facts.Pods = nil
		}
		before := slices.Clone(ledger.Entries)
		next, _ := budget.Next(ledger, facts)
		if !equal(ledger, next) {
			t.Errorf("%s: %+v became %+v", name, ledger, next)
		}
		if diff := cmp.Diff(before, ledger.Entries); diff != "" {
			t.Errorf("%s: Next wrote to what it was given:\n%s", name, diff)
		}
	}
}

func TestTheAccountSaysWhoWaitsForWhat(t *testing.T) {
	s := aScene(10, aPool("a", floor(2)), aPool("b", floor(9))).
		entry("a-1", 2, 5, 10).pod("a-1").pod("a-2", unready).pod("a-3", pending).pod("b-1", unready)
	_, account := budget.Next(s.ledger, s.facts)
	want := budget.Account{
		Budget: 10, Granted: 5, Held: 10,
		Pools: []budget.PoolAccount{
			{
				Key: key("a"), Weight: 100, Floor: 2, Entitled: 10, Share: 10, Granted: 5, Held: 10, Due: 5, Releasing: 5,
				Waiting: []budget.Waiting{{UID: "a-2", Pod: "a-2", Reason: budget.WaitingForRelease}},
			},
			{Key: key("b"), Weight: 100, Floor: 9, Waiting: []budget.Waiting{{UID: "b-1", Pod: "b-1", Reason: budget.InsufficientBudget}}},
		},
	}
	if diff := cmp.Diff(want, account); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}

	_, account = budget.Next(s.ledger, s.silent().facts)
	if got := account.Pools[0].Waiting[0].Reason; got != budget.ServerUnreachable {
		t.Errorf("while the server is silent a pod waits for %q, want %q", got, budget.ServerUnreachable)
	}

	s = aScene(4, aPool("a")).settled("a-1", 1, 9)
	if _, account = budget.Next(s.ledger, s.facts); !account.OverBudget || account.Held != 9 {
		t.Errorf("9 are held of 4, and the account says %+v", account)
	}
}

func TestTheAccountSaysWhatIsLent(t *testing.T) {
	s := aScene(20, aPool("a", needs(4), minimum(3)), aPool("b", needs(15))).settled("a-1", 1, 10).settled("b-1", 1, 10)
	_, account := budget.Next(s.ledger, s.facts)
	want := []budget.PoolAccount{
		{Key: key("a"), Weight: 100, Floor: 1, Minimum: 3, Entitled: 10, Share: 5, Granted: 5, Held: 10, Releasing: 5},
		{Key: key("b"), Weight: 100, Floor: 1, Entitled: 10, Share: 15, Granted: 10, Held: 10, Due: 5},
	}
	if diff := cmp.Diff(want, account.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
}
