// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
)

func TestACallerIsWhoConnectsUnlessATrustedProxyNamesAnother(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"nobody is trusted by default":                  {peer: "10.0.0.1:5", forwarded: []string{"192.0.2.1"}, want: "10.0.0.1"},
		"a stranger's header is not believed":           {peer: "198.51.100.1:5", forwarded: []string{"192.0.2.1"}, trusted: trusted, want: "198.51.100.1"},
		"a proxy's is":                                  {peer: "10.0.0.1:5", forwarded: []string{"192.0.2.1"}, trusted: trusted, want: "192.0.2.1"},
		"what the caller wrote itself is not":           {peer: "10.0.0.1:5", forwarded: []string{"10.9.9.9, 203.0.113.7, 192.0.2.1"}, trusted: trusted, want: "192.0.2.1"},
		"a chain of proxies is followed":                {peer: "10.0.0.1:5", forwarded: []string{"192.0.2.1", "10.0.0.3, 10.0.0.2"}, trusted: trusted, want: "192.0.2.1"},
		"a proxy that names nobody is the caller":       {peer: "10.0.0.1:5", trusted: trusted, want: "10.0.0.1"},
		"a proxy's own words end at what is no address": {peer: "10.0.0.1:5", forwarded: []string{"192.0.2.1, unknown, 10.0.0.2"}, trusted: trusted, want: "10.0.0.2"},
		"a port is left out":                            {peer: "[fd00::1]:5", forwarded: []string{"[2001:db8::1]:443"}, trusted: trusted, want: "2001:db8::1"},
		"IPv4 in IPv6 is IPv4":                          {peer: "[::ffff:10.0.0.1]:5", forwarded: []string{"::ffff:192.0.2.1"}, trusted: trusted, want: "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/sql", nil)
			r.RemoteAddr = c.peer
			for _, line := range c.forwarded {
				r.Header.Add("X-Forwarded-For", line)
			}
			if got := (edge.Callers{Trusted: c.trusted}).Of(r); got != netip.MustParseAddr(c.want) {
				t.Errorf("it is %v, not %v", got, c.want)
			}
		})
	}
}

// aPeer believes a header of 10.0.0.2's.
type aPeer struct{}

func (aPeer) Accept(r *http.Request) (netip.Addr, bool) {
	caller, err := netip.ParseAddr(r.Header.Get("Peer"))
	return caller, err == nil && r.RemoteAddr == "10.0.0.2:5"
}

func TestAReplicaThatPassesARequestOnSaysWhoSentIt(t *testing.T) {
	for peer, want := range map[string]string{"10.0.0.2:5": "192.0.2.1", "10.0.0.3:5": "10.0.0.3"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/query", nil)
		r.RemoteAddr = peer
		r.Header.Set("Peer", "192.0.2.1")
		if got := (edge.Callers{Peers: aPeer{}}).Of(r); got != netip.MustParseAddr(want) {
			t.Errorf("of %s it is %v, not %s", peer, got, want)
		}
	}
}
