// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// TestLoginsGoOnWithASessionOfTLSForThoseWhoTrustTheSame: what one authority's
// certificate was verified for is worth nothing to a pool that trusts another.
func TestLoginsGoOnWithASessionOfTLSForThoseWhoTrustTheSame(t *testing.T) {
	s := aSite(t, encrypted)
	door := edge.Door{Timeout: patience}
	resumed := func() bool {
		conn, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, s.Login)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		socket, ok := conn.Conn().(*tls.Conn)
		return ok && socket.ConnectionState().DidResume
	}
	if resumed() {
		t.Error("the first login goes on with a session")
	}
	if !resumed() {
		t.Error("the second login begins a session of its own")
	}
	s.Pool.Authority = string(testenv.NewCertificate(t, "127.0.0.1").CA)
	if conn, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, s.Login); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a pooler is taken whose certificate is another authority's")
	}
}
