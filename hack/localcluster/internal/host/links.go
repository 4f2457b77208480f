// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package host changes the machine outside the nodes, and only this: one bridge,
// a cable and routes per node. It also tells one process from another that has
// got the same number.
package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// Owner returns whose cluster's bridge it is (the state directory, kept in the
// link's alias), and false if there is none.
func Owner(c plan.Cluster) (string, bool, error) {
	link, err := netlink.LinkByName(c.Bridge())
	if missing(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("looking for link %s: %w", c.Bridge(), err)
	}
	return link.Attrs().Alias, true, nil
}

func missing(err error) bool {
	var none netlink.LinkNotFoundError
	return errors.As(err, &none)
}

// Conflicts returns the host's routes and addresses that lie in the cluster's
// network but are not on its bridge. A shorter prefix is a general route (a
// default, a VPN's 10.0.0.0/8), over which the cluster's own win.
func Conflicts(c plan.Cluster) ([]string, error) {
	own := -1
	if link, err := netlink.LinkByName(c.Bridge()); err == nil {
		own = link.Attrs().Index
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	var found []string
	for _, r := range routes {
		if r.LinkIndex != own && inside(c, r.Dst) {
			found = append(found, r.Dst.String())
		}
	}
	for _, a := range addresses {
		if a.LinkIndex != own && inside(c, a.IPNet) {
			found = append(found, a.IPNet.String())
		}
	}
	return found, nil
}

func inside(c plan.Cluster, n *net.IPNet) bool {
	if n == nil {
		return false
	}
	ip, ok := netip.AddrFromSlice(n.IP.To4())
	ones, _ := n.Mask.Size()
	return ok && ones >= c.Network().Bits() && c.Network().Contains(ip)
}

// MakeBridge makes the cluster's bridge with the host's address, marked with its owner.
func MakeBridge(c plan.Cluster, owner string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: c.Bridge()}}
	if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding bridge %s: %w", c.Bridge(), err)
	}
	link, err := netlink.LinkByName(c.Bridge())
	if err != nil {
		return fmt.Errorf("looking for bridge %s: %w", c.Bridge(), err)
	}
	if err := netlink.LinkSetAlias(link, owner); err != nil {
		return fmt.Errorf("marking bridge %s: %w", c.Bridge(), err)
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(c.HostIP(), c.NodeNetwork().Bits()))}
	if err := netlink.AddrReplace(link, address); err != nil {
		return fmt.Errorf("giving bridge %s its address: %w", c.Bridge(), err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting bridge %s up: %w", c.Bridge(), err)
	}
	return nil
}

// PlugIn lays a cable from the bridge to eth0 of the node whose first process is
// pid, and routes the node's pods (and, to the first node, all Services) there.
func PlugIn(c plan.Cluster, n plan.Node, pid int) error {
	bridge, err := netlink.LinkByName(c.Bridge())
	if err != nil {
		return fmt.Errorf("looking for bridge %s: %w", c.Bridge(), err)
	}
	if err := Unplug(n); err != nil {
		return err
	}
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: n.Link, MasterIndex: bridge.Attrs().Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("adding link %s: %w", n.Link, err)
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("setting link %s up: %w", n.Link, err)
	}
	ranges := []netip.Prefix{n.Pods}
	if n.Index == 0 {
		ranges = append(ranges, c.Services())
	}
	for _, r := range ranges {
		route := &netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: ipNet(r), Gw: n.IP.AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("adding route to %s: %w", r, err)
		}
	}
	return nil
}

// Unplug removes a node's cable, if it is there.
func Unplug(n plan.Node) error { return deleteLink(n.Link) }

// RemoveBridge removes the bridge and with it the host's address and routes.
func RemoveBridge(c plan.Cluster) error { return deleteLink(c.Bridge()) }

func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if missing(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing link %s: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
