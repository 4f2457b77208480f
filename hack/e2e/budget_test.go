// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// budgetHolds has far more clients than the server has connections, and somebody
// else who needs one all the while.
func (s *story) budgetHolds(t *testing.T) {
	secret := s.published(t, s.pool)
	budget, poolers := int(s.budget(t)), len(s.poolers(t, s.pool))
	other := s.server.role(t, "other", "")
	watch, err := load.Watch(t.Context(), s.server.AdminURL(), s.dialer.DialContext, "shop")
	if err != nil {
		t.Fatal(err)
	}
	visits := s.visit(t, other)
	result, err := load.Clients{
		URL: string(secret.Data["DATABASE_URL"]), Dial: s.dialer.DialContext, Count: 200,
		Statement: "select pg_sleep(0.1)", Rounds: 5, Timeout: 2 * time.Minute,
	}.Run(t.Context())
	visited, refused := visits()
	seen, watched := watch.Stop(t.Context())
	if err := errors.Join(err, watched); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d clients served, at most %d backends of a budget of %d in %d samples; %d visits of someone else",
		result.Served, seen.Largest, budget, seen.Samples, visited)
	if result.Served != 200 {
		t.Errorf("%d clients were served, %d refused, %d failed, one of them so: %v", result.Served, result.Refused, result.Failed, result.Err)
	}
	// Beyond the budget there may be one login in flight for each pooler, and the
	// operator's own look at the server, which has the role of the Secret.
	if limit := budget + poolers + 1; seen.Largest > limit {
		t.Errorf("the server saw %d backends of the pool, want at most %d", seen.Largest, limit)
	}
	if seen.Largest < budget/2 {
		t.Errorf("the server saw only %d backends of the pool, of a budget of %d", seen.Largest, budget)
	}
	if refused != nil || visited == 0 {
		t.Errorf("someone else came %d times and was then turned away: %v", visited, refused)
	}
}

// visit connects as someone else, again and again, until the function it returns
// is called.
func (s *story) visit(t *testing.T, url string) func() (visited int, refused error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	type tally struct {
		visited int
		refused error
	}
	done := make(chan tally, 1)
	go func() {
		var count tally
		for ctx.Err() == nil && count.refused == nil {
			if _, count.refused = s.query(t.Context(), url, "select 1"); count.refused == nil {
				count.visited++
			}
		}
		done <- count
	}()
	return func() (int, error) {
		stop()
		count := <-done
		return count.visited, count.refused
	}
}
