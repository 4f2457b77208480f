// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"errors"
	"strings"
	"testing"
)

// Bindings that lead nowhere.
const (
	wrongPassword     = "WRONG_PASSWORD"
	wrongPasswordEdge = "WRONG_PASSWORD_EDGE"
	unknownPool       = "UNKNOWN_POOL"
	privatePool       = "PRIVATE_POOL"

	// By these the certificate is another's.
	stranger           = "STRANGER"
	strangerEdge       = "STRANGER_EDGE"
	hyperdriveStranger = "HYPERDRIVE_STRANGER"
)

// badInput is what applications see of their mistakes: the database's words, and no
// broken pipe. Drivers show an HTTP status other than 400 with the whole body, in
// which the code stands. PgBouncer itself has words of its own for a wrong password.
func (s *shop) badInput(t *testing.T) {
	for _, test := range []struct {
		what, driver, way, action string
		words                     []string
	}{
		{"wrong password", "pg", wrongPassword, "work", []string{"08P01", "SASL authentication failed"}},
		{"wrong password", "postgres", wrongPassword, "work", []string{"08P01", "SASL authentication failed"}},
		{"wrong password", "prisma-pg", wrongPassword, "work", []string{"08P01", "SASL authentication failed"}},
		{"wrong password", "neon-http", wrongPasswordEdge, "work", []string{"28P01", "password authentication failed"}},
		{"wrong password", "neon-client", wrongPasswordEdge, "work", []string{"28P01", "password authentication failed"}},
		{"wrong password", "neon-pool", wrongPasswordEdge, "work", []string{"28P01", "password authentication failed"}},
		{"wrong password", "prisma-neon", wrongPasswordEdge, "work", []string{"28P01"}},
		{"unknown pool", "neon-http", unknownPool, "work", []string{"08004", "serves no pool"}},
		{"unknown pool", "neon-client", unknownPool, "work", []string{"08004", "serves no pool"}},
		{"a pool that did not ask to be served", "neon-http", privatePool, "work", []string{"08004", "serves no pool"}},
		{"a pool that did not ask to be served", "neon-client", privatePool, "work", []string{"08004", "serves no pool"}},
		{"a certificate of another", "pg", stranger, "work", nil},
		{"a certificate of another", "pg", hyperdriveStranger, "work", nil},
		{"a certificate of another", "neon-http", strangerEdge, "work", nil},
		{"a certificate of another", "neon-client", strangerEdge, "work", nil},
		{"a result that is too large", "neon-http", gateway, "large", []string{"507", "more than"}},
	} {
		t.Run(test.what+" with "+test.driver, func(t *testing.T) {
			err := s.worker.ask(t.Context(), test.driver, test.way, test.action, "", nil)
			var seen *problem
			if !errors.As(err, &seen) {
				t.Fatalf("the application sees %v", err)
			}
			t.Logf("the application sees %s", strings.TrimSpace(seen.Error()))
			for _, word := range test.words {
				if !strings.Contains(seen.Error(), word) {
					t.Errorf("the application sees %q, without %q", seen, word)
				}
			}
		})
	}
	t.Run("no such limit over a WebSocket", func(t *testing.T) {
		var rows []struct{ X string }
		if err := s.worker.ask(t.Context(), "neon-client", gateway, "large", "", &rows); err != nil || len(rows) != 16384 {
			t.Errorf("%d rows came, %v", len(rows), err)
		}
	})
}
