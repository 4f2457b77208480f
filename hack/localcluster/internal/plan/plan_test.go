// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"testing"
)

func TestClustersShareNoAddressAndNoName(t *testing.T) {
	names := map[string]int{}
	for number := 1; number <= MaxNumber; number++ {
		c, err := New(number)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := New(max(1, number-1)); err == nil && other != c && c.Network().Overlaps(other.Network()) {
			t.Errorf("clusters %d and %d overlap", number, other.Number)
		}
		for _, name := range []string{c.Bridge(), c.Cgroup(), c.Node(0).Link, c.Node(MaxNodes - 1).Link} {
			if owner, taken := names[name]; taken {
				t.Errorf("clusters %d and %d both use %q", owner, number, name)
			}
			names[name] = number
		}
	}
}

func TestRangesOfOneClusterAreDisjointAndInsideItsNetwork(t *testing.T) {
	c := Cluster{Number: MaxNumber}
	ranges := []netip.Prefix{c.NodeNetwork(), c.Services(), c.Pods()}
	for i, a := range ranges {
		if !c.Network().Contains(a.Addr()) || a.Bits() <= c.Network().Bits() {
			t.Errorf("%s is not inside %s", a, c.Network())
		}
		for _, b := range ranges[i+1:] {
			if a.Overlaps(b) {
				t.Errorf("%s overlaps %s", a, b)
			}
		}
	}
}

func TestNodesHaveTheirOwnAddressesAndPods(t *testing.T) {
	c := Cluster{Number: 2}
	nodes := c.Nodes(MaxNodes)
	for i, a := range nodes {
		if !c.NodeNetwork().Contains(a.IP) || a.IP == c.HostIP() {
			t.Errorf("%s has the address %s", a.Name, a.IP)
		}
		if !c.Pods().Overlaps(a.Pods) {
			t.Errorf("%s is not in %s", a.Pods, c.Pods())
		}
		for _, b := range nodes[i+1:] {
			if a.IP == b.IP || a.Pods.Overlaps(b.Pods) || a.Cgroup == b.Cgroup || a.Link == b.Link {
				t.Errorf("%s and %s share something: %+v %+v", a.Name, b.Name, a, b)
			}
		}
	}
}

func TestLinkNamesFitTheKernelsLimit(t *testing.T) {
	const ifnamsiz = 15
	for _, name := range []string{Cluster{Number: MaxNumber}.Bridge(), Cluster{Number: MaxNumber}.Node(MaxNodes - 1).Link} {
		if len(name) > ifnamsiz {
			t.Errorf("%q is longer than %d", name, ifnamsiz)
		}
	}
}

func TestNumbersOutOfRangeAreRefused(t *testing.T) {
	for _, number := range []int{-1, 0, MaxNumber + 1} {
		if _, err := New(number); err == nil {
			t.Errorf("number %d was accepted", number)
		}
	}
}
