// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package plan derives every name and address of a cluster from its number, so
// that clusters with different numbers share nothing. It does no I/O.
package plan

import (
	"fmt"
	"net/netip"
)

// MaxNumber is the highest cluster number: cluster n owns 10.(200+n).0.0/16.
const MaxNumber = 55

// MaxNodes is how many nodes a cluster may have. Every node knows a route to
// each of the others' pods from the start, whether it exists yet or not.
const MaxNodes = 8

// Cluster is what a number stands for.
type Cluster struct {
	Number int
}

// New returns the cluster of a number between 1 and MaxNumber.
func New(number int) (Cluster, error) {
	if number < 1 || number > MaxNumber {
		return Cluster{}, fmt.Errorf("cluster number %d is not between 1 and %d", number, MaxNumber)
	}
	return Cluster{Number: number}, nil
}

func (c Cluster) addr(third, fourth int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(200 + c.Number), byte(third), byte(fourth)})
}

// Network is everything the cluster uses: nodes, Services and pods.
func (c Cluster) Network() netip.Prefix { return netip.PrefixFrom(c.addr(0, 0), 16) }

// NodeNetwork is the link between the host and the nodes.
func (c Cluster) NodeNetwork() netip.Prefix { return netip.PrefixFrom(c.addr(0, 0), 24) }

// Services is the range of ClusterIPs.
func (c Cluster) Services() netip.Prefix { return netip.PrefixFrom(c.addr(16, 0), 20) }

// Pods is the range of all pod IPs.
func (c Cluster) Pods() netip.Prefix { return netip.PrefixFrom(c.addr(128, 0), 17) }

// HostIP is the host's address on the node network, by which pods reach it.
func (c Cluster) HostIP() netip.Addr { return c.addr(0, 1) }

// APIServiceIP is the ClusterIP of the Service default/kubernetes.
func (c Cluster) APIServiceIP() netip.Addr { return c.addr(16, 1) }

// DNS is where CoreDNS listens: the first node.
func (c Cluster) DNS() netip.Addr { return c.Node(0).IP }

// Server is the API server's URL, on the first node.
func (c Cluster) Server() string { return "https://" + netip.AddrPortFrom(c.Node(0).IP, 6443).String() }

// Bridge is the host's link that all nodes are plugged into.
func (c Cluster) Bridge() string { return fmt.Sprintf("pfleet%d", c.Number) }

// Cgroup is the name of the cluster's cgroup below each hierarchy's root.
func (c Cluster) Cgroup() string { return fmt.Sprintf("poolfleet-%d", c.Number) }

// Node is one node of a cluster.
type Node struct {
	Index int
	Name  string
	IP    netip.Addr
	Pods  netip.Prefix
	// Link is the host's end of the cable to the node's eth0.
	Link string
	// Cgroup is the parent of the node's pods (kubelet's cgroupRoot).
	Cgroup string
	// SystemCgroup is the leaf that holds the node's own processes: a version 2
	// cgroup that has children must not have processes.
	SystemCgroup string
}

// Node returns the node with an index from 0 to MaxNodes-1.
func (c Cluster) Node(index int) Node {
	name := fmt.Sprintf("node-%d", index)
	return Node{
		Index:        index,
		Name:         name,
		IP:           c.addr(0, 2+index),
		Pods:         netip.PrefixFrom(c.addr(128+index, 0), 24),
		Link:         fmt.Sprintf("%sn%d", c.Bridge(), index),
		Cgroup:       c.Cgroup() + "/" + name,
		SystemCgroup: c.Cgroup() + "/" + name + "/system",
	}
}

// Nodes returns the first count nodes.
func (c Cluster) Nodes(count int) []Node {
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = c.Node(i)
	}
	return nodes
}
