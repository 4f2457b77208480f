// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Callers tells who sends a request.
type Callers struct {
	// Trusted are the networks of proxies before the gateway, whose X-Forwarded-For is
	// believed. Without any, a caller is who connects.
	Trusted []netip.Prefix
	// Peers tells who sent a request that another replica has passed on; nil where there
	// are none.
	Peers interface {
		Accept(r *http.Request) (caller netip.Addr, believed bool)
	}
}

// Of is who sends a request: the peer, or where that is a trusted proxy, the last
// address of X-Forwarded-For that is none. What stands before it anybody can write.
func (c Callers) Of(r *http.Request) netip.Addr {
	if c.Peers != nil {
		if caller, believed := c.Peers.Accept(r); believed {
			return plain(caller)
		}
	}
	caller := CallerOf(r)
	if len(c.Trusted) == 0 {
		return caller
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !c.trust(caller) {
			return caller
		}
		before, err := addressIn(hop)
		if err != nil {
			return caller
		}
		caller = before
	}
	return caller
}

func (c Callers) trust(address netip.Addr) bool {
	return slices.ContainsFunc(c.Trusted, func(p netip.Prefix) bool { return p.Contains(address) })
}

// addressIn reads an address with or without a port: some proxies add that of the client.
func addressIn(hop string) (netip.Addr, error) {
	hop = strings.TrimSpace(hop)
	if both, err := netip.ParseAddrPort(hop); err == nil {
		return plain(both.Addr()), nil
	}
	address, err := netip.ParseAddr(hop)
	return plain(address), err
}

// CallerOf is who sends a request that the Server has handed on: it has put the caller in
// the place of the peer.
func CallerOf(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(address.Addr())
}

func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

// NetworkOf is what limits count by: an IPv4 address, or the /64 that a site has at
// least of IPv6 (RFC 6177, section 2), within which it takes any address it likes.
func NetworkOf(caller netip.Addr) netip.Addr {
	if !caller.Is6() {
		return caller
	}
	network, err := caller.Prefix(64)
	if err != nil {
		return caller
	}
	return network.Addr()
}
