// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/status"
)

// capacity is a server of 100 with 3 reserved for superusers and 5 left to others.
func capacity() poolv1.Capacity {
	return poolv1.Capacity{
		Source: poolv1.CapacityObserved, MaxConnections: new(int32(100)), SuperuserReserved: new(int32(3)),
		Reserved: new(int32(0)), Direct: new(int32(5)), Withheld: new(int32(8)), Budget: new(int32(92)),
	}
}

// share is the line of a pool that has settled with half of the budget.
func share(name string, changes ...func(*status.PoolShare)) status.PoolShare {
	p := status.PoolShare{
		Name: name, Weight: 100, Weights: 200, Floor: 1, Replicas: 2,
		Entitled: 46, Share: 46, Granted: 46, Held: 46,
	}
	for _, change := range changes {
		change(&p)
	}
	return p
}

func TestAccountLines(t *testing.T) {
	shrinks := func(p *status.PoolShare) {
		p.Share, p.Granted = 32, 32
		p.Oldest = poolv1.OldestTransaction{Pod: "b-1", PID: 123, Since: new(metav1.NewTime(time.Unix(1_700_000_000, 0)))}
	}
	cases := map[string]struct {
		account status.ServerAccount
		want    string
	}{
		"nothing is known yet": {status.ServerAccount{}, ""},
		"two pools share evenly": {
			status.ServerAccount{Capacity: capacity(), Pools: []status.PoolShare{share("shop/a"), share("shop/b")}}, `
100 max_connections of the server
-3 superuser_reserved_connections
-5 left to others (spec.directConnections, by default)
= 92 for pools
shop/a: 46 by weight 100 of 200; granted
shop/b: 46 by weight 100 of 200; granted`,
		},
		"a ceiling, intruders and another operator": {
			status.ServerAccount{
				Capacity: with(capacity(), func(c *poolv1.Capacity) {
					c.Budget, c.Reserved, c.Withheld = new(int32(60)), new(int32(2)), new(int32(10))
				}),
				Ceiling: 60, DirectChosen: true, Deducted: 12, Elsewhere: 8, Notes: []string{"a note"},
			}, `
100 max_connections of the server
-3 superuser_reserved_connections
-2 reserved_connections
-5 left to others (spec.directConnections)
-30 above the ceiling of 60 (spec.maxServerConnections)
-12 that others use now; what is left to them is kept free beside
-8 of pools in namespaces that another operator watches
= 40 for pools
a note`,
		},
		"a number stands in for the server's word": {
			status.ServerAccount{Capacity: poolv1.Capacity{
				Source: poolv1.CapacityDeclared, MaxConnections: new(int32(20)), SuperuserReserved: new(int32(0)),
				Reserved: new(int32(0)), Direct: new(int32(0)), Withheld: new(int32(0)), Budget: new(int32(20)),
			}}, `
20 declared by spec.upstream.maxConnections of a pool, as the server can not be asked
= 20 for pools`,
		},
		"a loan on its way": {
			status.ServerAccount{Capacity: capacity(), Pools: []status.PoolShare{
				share("shop/a", func(p *status.PoolShare) {
					p.Share, p.Due, p.Lenders, p.From = 60, 14, []string{"shop/b"}, []string{"shop/b"}
				}),
				share("shop/b", shrinks),
			}}, `
100 max_connections of the server
-3 superuser_reserved_connections
-5 left to others (spec.directConnections, by default)
= 92 for pools
shop/a: 46 by weight 100 of 200; borrows 14 that shop/b leaves idle; granted 46; waits for 14 from shop/b
shop/b: 46 by weight 100 of 200; lends 14; granted 32, may still hold 46; pod b-1 lets go when backend 123 ends its transaction, in it since 2023-11-14T22:13:20Z`,
		},
		"pods that wait": {
			status.ServerAccount{Capacity: capacity(), Pools: []status.PoolShare{share("shop/a", func(p *status.PoolShare) {
				p.Waiting = []status.WaitingPods{{Pods: []string{"a-1"}, Why: "for a place"}, {Pods: []string{"a-2", "a-3", "a-4", "a-5"}, Why: "for others"}}
			})}}, `
100 max_connections of the server
-3 superuser_reserved_connections
-5 left to others (spec.directConnections, by default)
= 92 for pools
shop/a: 46 by weight 100 of 200; granted
shop/a: pod a-1 waits for a place
shop/a: pods a-2, a-3, a-4 and 1 more wait for others`,
		},
		"a pool that is not let in any more": {
			status.ServerAccount{Capacity: capacity(), Left: []status.LeftBehind{{Name: "shop/a", Why: "its namespace is not in spec.allowedNamespaces", Held: 20}}}, `
100 max_connections of the server
-3 superuser_reserved_connections
-5 left to others (spec.directConnections, by default)
= 92 for pools
shop/a: its namespace is not in spec.allowedNamespaces; its pods hold 20 until they end`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(status.AccountLines(c.account), "\n")
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
		})
	}
}

func with(c poolv1.Capacity, change func(*poolv1.Capacity)) poolv1.Capacity {
	change(&c)
	return c
}

func TestAnAccountSaysWhyAPoolGetsWhatItGets(t *testing.T) {
	cases := map[string]func(*status.PoolShare){
		"46 by weight 100 of 200":                                                func(*status.PoolShare) {},
		"46 by weight 100 of 200 in its namespace, which weighs 300":             func(p *status.PoolShare) { p.NamespaceWeight = 300 },
		"46 as its maximum":                                                      func(p *status.PoolShare) { p.Maximum = 46 },
		"46 as its minimum":                                                      func(p *status.PoolShare) { p.Minimum = 46 },
		"46 under the CONNECTION LIMIT 46 of role \"app\"":                       func(p *status.PoolShare) { p.Limits = []string{`the CONNECTION LIMIT 46 of role "app"`} },
		"0 as no pooler is asked for":                                            func(p *status.PoolShare) { p.Entitled, p.Replicas = 0, 0 },
		"0 as the 2 that one of its poolers needs are not left":                  func(p *status.PoolShare) { p.Entitled, p.Floor = 0, 2 },
		"0 as its minimum of 50 does not fit beside those of the pools that run": func(p *status.PoolShare) { p.Entitled, p.Minimum = 0, 50 },
	}
	for want, change := range cases {
		p := share("shop/a", change, func(p *status.PoolShare) { p.Share, p.Granted, p.Held = p.Entitled, p.Entitled, p.Entitled })
		lines := status.AccountLines(status.ServerAccount{Capacity: capacity(), Pools: []status.PoolShare{p}})
		if got := lines[len(lines)-1]; got != "shop/a: "+want+"; granted" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnAccountFitsTheAPI(t *testing.T) {
	var pools []status.PoolShare
	for i := range 1024 {
		pools = append(pools, share(fmt.Sprintf("%s/%s", strings.Repeat("é", 300), strings.Repeat("p", 60)), func(p *status.PoolShare) {
			p.Waiting = []status.WaitingPods{{Pods: []string{fmt.Sprint(i)}, Why: "for one"}, {Pods: []string{"a"}, Why: "for another"}}
		}))
	}
	lines := status.AccountLines(status.ServerAccount{Capacity: capacity(), Pools: pools})
	if len(lines) != 2048 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 512 || strings.ContainsRune(line, '\uFFFD') {
			t.Fatalf("a line of %d characters: %s", n, line)
		}
	}
}

func TestABudgetThatChangesIsToldWithItsCause(t *testing.T) {
	before := poolv1.UpstreamStatus{Capacity: capacity()}
	cases := map[string]struct {
		after poolv1.UpstreamStatus
		want  status.Change
	}{
		"nothing changed": {before, status.Change{}},
		"the server was given fewer": {
			poolv1.UpstreamStatus{Capacity: with(capacity(), func(c *poolv1.Capacity) { c.MaxConnections, c.Budget = new(int32(50)), new(int32(42)) })},
			status.Change{Shrank: true, Text: "Pools may take 42 connections together, before it was 92: max_connections is 50 and was 100"},
		},
		"a ceiling": {
			poolv1.UpstreamStatus{Capacity: with(capacity(), func(c *poolv1.Capacity) { c.Budget = new(int32(30)) })},
			status.Change{Shrank: true, Text: "Pools may take 30 connections together, before it was 92: spec.maxServerConnections was changed"},
		},
		"intruders": {
			poolv1.UpstreamStatus{Capacity: capacity(), Use: poolv1.ServerUse{Deducted: new(int32(12))}},
			status.Change{Shrank: true, Text: "Pools may take 80 connections together, before it was 92: what others use and comes off the budget is 12 and was 0"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, status.BudgetChange(before, c.after)); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
		})
	}
	if first := status.BudgetChange(poolv1.UpstreamStatus{}, before); first != (status.Change{}) {
		t.Errorf("the first budget of a server is told as a change: %+v", first)
	}
	if grown := status.BudgetChange(cases["intruders"].after, before); grown.Shrank || grown.Text == "" {
		t.Errorf("intruders that went are told as %+v", grown)
	}
}

func TestAccountWordsLeaveOutTheArithmetic(t *testing.T) {
	account := status.AccountLines(status.ServerAccount{
		Capacity: capacity(), Notes: []string{"a note"}, Pools: []status.PoolShare{share("1st/a")},
	})
	want := []string{"a note", "1st/a: 46 by weight 100 of 200; granted"}
	if diff := cmp.Diff(want, status.AccountWords(account)); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if words := status.AccountWords(nil); len(words) != 0 {
		t.Errorf("an account that is not there has the words %q", words)
	}
}
