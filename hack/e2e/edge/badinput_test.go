// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"errors"
	"fmt"
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
		{"a result that is too large", "neon-http", gateway, "large", []string{"507", "more than"}},
	} {
		t.Run(test.what+" with "+test.driver+" by "+test.way, func(t *testing.T) {
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
	t.Run("a result that is as large with neon-client", func(t *testing.T) {
		var rows []struct{ X string }
		if err := s.worker.ask(t.Context(), "neon-client", gateway, "large", "", &rows); err != nil || len(rows) != 16384 {
			t.Errorf("%d rows came, %v", len(rows), err)
		}
	})
}

// verifies has the Worker reach pool and gateway by a name that is in no certificate.
// Drivers say little of why they fail; workerd does, but for a Hyperdrive, which is
// beside it.
func (s *shop) verifies(t *testing.T) {
	for _, test := range []struct{ driver, way, name string }{
		{"pg", stranger, elsewhere},
		{"prisma-pg", stranger, elsewhere},
		{"pg", hyperdriveStranger, ""},
		{"neon-http", strangerEdge, "api." + elsewhere},
		{"neon-client", strangerEdge, "shop." + elsewhere},
	} {
		t.Run(test.driver+" by "+test.way, func(t *testing.T) {
			before := len(s.worker.said.String())
			err := s.worker.ask(t.Context(), test.driver, test.way, "work", "", nil)
			var seen *problem
			if !errors.As(err, &seen) {
				t.Fatalf("the application sees %v", err)
			}
			t.Logf("the application sees %s", strings.TrimSpace(seen.Error()))
			if test.name == "" {
				return
			}
			eventually(t, "workerd says why", func() error {
				if said := s.worker.said.String()[before:]; !strings.Contains(said, fmt.Sprintf("certificate not valid for name %q", test.name)) {
					return fmt.Errorf("it says %q", said)
				}
				return nil
			})
		})
	}
}
