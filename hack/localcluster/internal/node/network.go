// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// setUpNetwork gives the node its name, its address and its routes.
func setUpNetwork(spec Spec) error {
	if err := unix.Sethostname([]byte(spec.Node.Name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	prefix := netip.PrefixFrom(spec.Node.IP, spec.Cluster.NodeNetwork().Bits())
	if err := setUpLink("lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := setUpLink("eth0", prefix); err != nil {
		return err
	}
	if err := addRoutes(spec.Cluster, spec.Node); err != nil {
		return err
	}
	// Packets between pods of one node cross a bridge: they have to pass
	// netfilter, or the answers of a Service are not translated back.
	for _, name := range []string{"net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"} {
		if err := os.WriteFile("/proc/sys/"+name, []byte("1"), 0); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

func setUpLink(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking for link %s: %w", name, err)
	}
	if address.IsValid() {
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, address, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting link %s up: %w", name, err)
	}
	return nil
}

// addRoutes sends everything to the host but the pods of other nodes, present or
// future.
func addRoutes(c plan.Cluster, own plan.Node) error {
	if err := netlink.RouteReplace(&netlink.Route{Gw: c.HostIP().AsSlice()}); err != nil {
		return fmt.Errorf("adding the default route: %w", err)
	}
	for _, other := range c.Nodes(plan.MaxNodes) {
		if other.Index == own.Index {
			continue
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(other.Pods), Gw: other.IP.AsSlice()}); err != nil {
			return fmt.Errorf("adding the route to the pods of %s: %w", other.Name, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
