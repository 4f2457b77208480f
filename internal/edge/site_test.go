// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/netip"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
)

func TestTheDoorLeadsToThePoolersAndTheyRestartWhereTheyWere(t *testing.T) {
	for name, options := range map[string][]func(testing.TB, *site){
		"plain": nil, "encrypted": {encrypted}, "in session mode": {inSessionMode},
	} {
		t.Run(name, func(t *testing.T) {
			s := aSite(t, options...)
			door := edge.Door{Timeout: patience}
			for range 2 {
				conn, err := door.Enter(t.Context(), s.Pool, netip.Addr{}, s.Login)
				if err != nil {
					t.Fatal(err)
				}
				if result := conn.ExecParams(t.Context(), "select 1", nil, nil, nil, nil).Read(); result.Err != nil {
					t.Error(result.Err)
				}
				if err := conn.Close(t.Context()); err != nil {
					t.Error(err)
				}
				s.PgBouncer.Restart(t)
			}
		})
	}
}
