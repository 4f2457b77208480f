// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
)

// widenPatience is how long a larger budget waits for poolers to let it in.
const widenPatience = 10 * time.Second

// rendered is what a pool's newest configuration checks new server connections with.
type rendered struct{ revision, query string }

// NoteQuery keeps what a revision of a pool's configuration admits by; an empty query
// admits all.
func (r *Records) NoteQuery(pool types.NamespacedName, revision, query string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries[pool] = rendered{revision: revision, query: query}
}

// widen is the budget that grants may come to. One that grew waits until every pooler
// runs the admission query that lets so many in: else what one pooler takes up is too
// much by another's, whose next login is refused.
func (r *BudgetReconciler) widen(upstream *poolv1.Upstream, s *sighting, grown int32) (allowed int32) {
	var known int32
	r.Records.noteServer(upstream.Name, func(server *serverRecord) { known = server.budget })
	waits := known > 0 && grown > known && !r.admitted(upstream, s)
	r.Records.noteServer(upstream.Name, func(server *serverRecord) {
		server.narrow = firstOf(server.narrow, waits, s.now)
		if s.widening = waits && s.now.Sub(server.narrow) < widenPatience; !s.widening {
			server.budget, server.narrow = grown, time.Time{}
		}
		allowed = min(grown, server.budget)
	})
	return allowed
}

// admitted reports whether all poolers that may log in run the query that the capacity
// asks for, as far as this manager has rendered it.
func (r *BudgetReconciler) admitted(upstream *poolv1.Upstream, s *sighting) bool {
	if s.capacity.Withheld == nil {
		return true
	}
	asked := *upstream
	asked.Status.Capacity = s.capacity
	query := budget.AdmissionQuery(admissionOf(&asked))
	for i := range s.pools {
		pool := client.ObjectKeyFromObject(&s.pools[i])
		newest := r.Records.query(pool)
		if newest.query == "" {
			continue
		}
		if newest.query != query || !s.runs(pool, newest.revision) {
			return false
		}
	}
	return true
}

func (r *Records) query(pool types.NamespacedName) rendered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queries[pool]
}

// runs reports whether all pods of a pool that may log in said that they run a revision.
func (s *sighting) runs(pool types.NamespacedName, revision string) bool {
	for _, e := range s.ledger.Entries {
		if poolOfEntry(e) == pool && e.Granted > 0 && !s.leaving(e.UID) && s.acks[e.UID].Config != revision {
			return false
		}
	}
	return true
}
