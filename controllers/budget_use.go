// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

const (
	// looksToBelieve is how many looks in a row have to show others before the budget
	// falls. A look and what pods say of themselves are never of one instant.
	looksToBelieve = 3
	// looksApart is how far apart they are at least.
	looksApart = 5 * time.Second
	// useInterval is how often status.use is written while nothing follows from it.
	useInterval = 30 * time.Second
)

// use is what the newest looks show of the connections that are not the pools'.
type use struct {
	// look is the newest that shows the server's connections; nil where none does.
	look *postgres.Observation
	at   time.Time
	// pool whose look it is.
	pool types.NamespacedName
	// fresh is a look that no pass has weighed yet.
	fresh bool
	// hidden is true where the server was looked at and shows no connections.
	hidden bool
	// full is true where the newest look found no connection left for itself.
	full bool
	// now is status.use as this pass leaves it, unattributed what the newest look
	// shows of others beyond what now says.
	now          poolv1.ServerUse
	unattributed int32
	biggest      []string
	// renewed says that now is of the newest look.
	renewed bool
}

// readUse finds the newest look that shows connections.
func (r *BudgetReconciler) readUse(s *sighting) {
	var probed time.Time
	for i := range s.pools {
		key := client.ObjectKeyFromObject(&s.pools[i])
		record := r.Records.Pool(key)
		if record.Upstream != s.upstream || !s.identity.counts(record.Observation) {
			continue
		}
		if record.ProbedAt.After(probed) {
			probed = record.ProbedAt
			s.use.full = record.Problem != nil && record.Problem.Reason == poolv1.ReasonServerFull
		}
		o := record.Observation
		s.use.hidden = s.use.hidden || o.MaxConnections > 0
		if o.Backends != nil && record.SeenAt.After(s.use.at) {
			s.use.look, s.use.at, s.use.pool = &o, record.SeenAt, key
		}
	}
	s.use.hidden = s.use.hidden && s.use.look == nil
	s.use.fresh = s.use.look != nil && r.Records.newLook(s.upstream, s.use.at)
}

// weighUse takes what others use out of the newest look, and says what of it the
// budget bears. The state is status.use: it moves with looks alone, so two managers
// that look at different times do not write against each other.
func (r *BudgetReconciler) weighUse(ctx context.Context, upstream *poolv1.Upstream, s *sighting) {
	before := upstream.Status.Use
	s.use.now = before
	if s.capacity.Source != poolv1.CapacityObserved || s.use.hidden {
		s.use.now = poolv1.ServerUse{}
		return
	}
	if s.use.fresh {
		r.Records.noteOthers(s.upstream, s.use.at, s.others())
	}
	others := r.Records.others(s.upstream)
	if len(others) == 0 {
		s.use.now.Deducted = bounded(before.Deducted, valueOr(before.Others, 0)-s.spare())
		return
	}
	newest := max(others[len(others)-1]-s.spare(), 0)
	sustained := valueOr(before.Deducted, 0)
	if s.use.fresh && len(others) == looksToBelieve {
		sustained = max(sustained, slices.Min(others)-s.spare())
	}
	deducted := min(newest, sustained)
	s.use.unattributed = newest - deducted
	if s.use.fresh && s.use.unattributed > 0 {
		r.Records.hasten(s.use.pool)
		r.Signals.Pool(ctx, s.use.pool)
	}
	r.renewUse(s, before, deducted)
}

// renewUse writes the newest numbers when something follows from them, and now and then.
func (r *BudgetReconciler) renewUse(s *sighting, before poolv1.ServerUse, deducted int32) {
	differs := before.Deducted == nil || *before.Deducted != deducted
	if !differs && !r.Records.useDue(s.upstream, s.now) {
		return
	}
	s.use.now.Deducted = new(deducted)
	if s.use.look != nil {
		others := r.Records.others(s.upstream)
		s.use.now.Connections, s.use.now.Others = new(s.use.look.InUse), new(others[len(others)-1])
		s.use.biggest = s.biggestOthers()
	}
	s.use.renewed = true
}

func bounded(v *int32, most int32) *int32 {
	if v == nil {
		return nil
	}
	return new(min(*v, max(most, 0)))
}

// spare is how many connections others can use at no cost to pools: what lies
// between a ceiling and what the server could give. What the administrator keeps for
// others is kept free beside those who are there, so those come off the budget.
func (s *sighting) spare() int32 {
	c := s.capacity
	return max(valueOr(c.MaxConnections, 0)-valueOr(c.Withheld, 0)-valueOr(c.Budget, 0), 0)
}

// left is how many connections are left to others than pools.
func (s *sighting) left() int32 { return s.spare() + valueOr(s.capacity.Direct, 0) }

// others is how many connections of the newest look are nobody's of the pools. The
// look itself is one of the pools' operator. A pod that did not answer may have all that it holds.
func (s *sighting) others() int32 {
	others := s.use.look.InUse - 1
	for _, entry := range slices.Concat(s.ledger.Entries, s.strangers) {
		if s.heard[entry.UID] {
			others -= s.acks[entry.UID].Current
		} else {
			others -= entry.Held
		}
	}
	for _, entry := range s.foreignEntries {
		others -= valueOr(entry.Held, 0)
	}
	return max(others-s.guestsHold(), 0)
}

// namedOthers is how many of the others are named.
const namedOthers = 3

// biggestOthers names who has the most connections and is no pool's role.
func (s *sighting) biggestOthers() []string {
	pools := map[string]bool{}
	for i := range s.pools {
		pools[s.pools[i].Status.Upstream.Role] = true
	}
	counts := slices.DeleteFunc(slices.Clone(s.use.look.Backends), func(b postgres.BackendCount) bool {
		return pools[b.Role] || b.Application == postgres.ApplicationName
	})
	slices.SortStableFunc(counts, func(a, b postgres.BackendCount) int { return cmp.Compare(b.Count, a.Count) })
	var names []string
	for _, c := range counts {
		name := fmt.Sprintf("role %q", c.Role)
		if c.Application != "" {
			name += fmt.Sprintf(" with application %q", c.Application)
		}
		if !slices.Contains(names, name) && len(names) < namedOthers {
			names = append(names, name)
		}
	}
	return names
}
