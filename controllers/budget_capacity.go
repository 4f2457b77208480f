// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/status"
)

// look is what the looks of all pools at one server come to.
type look struct {
	// reachable is false while no look since this process started has succeeded: then
	// nothing is raised, and the last known capacity stands.
	reachable bool
	// asked is false before the first look of this process.
	asked bool
	// pooled is true when a pooler stands before the server.
	pooled bool
	// counted is true when the newest look has run the admission count, problem why the
	// pools can not be held by it.
	counted bool
	problem string
}

// readCapacity takes the capacity from the newest good look of any pool, else from
// the status: old news beats no news.
func (r *BudgetReconciler) readCapacity(upstream *poolv1.Upstream, s *sighting) {
	s.capacity, s.server = upstream.Status.Capacity, identityToStatus(s.identity.identity)
	s.roles = map[budget.PoolKey]int64{}
	var newest Record
	for i := range s.pools {
		record := r.Records.Pool(client.ObjectKeyFromObject(&s.pools[i]))
		if lookedUp(&s.pools[i]) {
			s.roles[budget.PoolKey{Namespace: s.pools[i].Namespace, Name: s.pools[i].Name}] = 0 // Any role.
		}
		if record.Upstream != upstream.Name {
			continue
		}
		s.look.asked = true
		if !s.identity.counts(record.Observation) {
			continue // What is at this address now has yet to be judged.
		}
		if oid := record.Observation.RoleOID; oid != 0 && !lookedUp(&s.pools[i]) {
			s.roles[budget.PoolKey{Namespace: s.pools[i].Namespace, Name: s.pools[i].Name}] = int64(oid)
		}
		s.look.pooled = s.look.pooled || record.Pooled
		if record.Problem == nil || record.answered() || status.Full(record.Problem.Reason) {
			s.look.reachable = true
		}
		// What a pool's look showed before one that failed is still newer than what
		// another's showed before that.
		if better(record, newest) {
			newest = record
		}
	}
	s.look.counted, s.look.problem = newest.Observation.AdmissionChecked, newest.Observation.AdmissionProblem
	s.take(newest, upstream.Spec)
}

// better prefers what the server itself said to what a spec declares, then the
// smaller declaration, then the newer look.
func better(a, b Record) bool {
	switch {
	case (a.Observation.MaxConnections > 0) != (b.Observation.MaxConnections > 0):
		return a.Observation.MaxConnections > 0
	case a.Declared != nil && b.Declared != nil:
		return *a.Declared < *b.Declared
	case a.Declared != nil && a.Observation.MaxConnections == 0:
		return true
	}
	return a.SeenAt.After(b.SeenAt)
}

func (s *sighting) take(record Record, spec poolv1.UpstreamSpec) {
	reserve := reserveOf(spec)
	switch o := record.Observation; {
	case o.MaxConnections > 0:
		c := budget.Capacity{MaxConnections: o.MaxConnections, SuperuserReserved: o.SuperuserReserved, Reserved: o.Reserved}
		s.capacity = capacityOf(poolv1.CapacityObserved, c, c.Budget(reserve))
	case record.Declared != nil:
		c := budget.Capacity{MaxConnections: *record.Declared}
		s.capacity = capacityOf(poolv1.CapacityDeclared, c, budget.Declared(*record.Declared, reserve))
	case s.capacity.Source == poolv1.CapacityObserved:
		// Nothing new of the server, but its administrator may have spoken.
		c := budget.Capacity{
			MaxConnections: *s.capacity.MaxConnections, SuperuserReserved: *s.capacity.SuperuserReserved, Reserved: *s.capacity.Reserved,
		}
		s.capacity = capacityOf(poolv1.CapacityObserved, c, c.Budget(reserve))
	}
}

func capacityOf(source poolv1.CapacitySource, c budget.Capacity, b budget.Budget) poolv1.Capacity {
	return poolv1.Capacity{
		Source: source, MaxConnections: new(c.MaxConnections), SuperuserReserved: new(c.SuperuserReserved),
		Reserved: new(c.Reserved), Direct: new(b.Direct), Withheld: new(b.Withheld), Budget: new(b.Connections),
	}
}

func reserveOf(spec poolv1.UpstreamSpec) budget.Reserve {
	var reserve budget.Reserve
	if n := spec.MaxServerConnections; n > 0 {
		reserve.MaxServerConnections = &n
	}
	if d := spec.DirectConnections; d != nil {
		if d.Type == intstr.Int {
			reserve.Direct = new(d.IntVal)
		} else if percent, err := strconv.ParseInt(strings.TrimSuffix(d.StrVal, "%"), 10, 32); err == nil {
			reserve.DirectPercent = new(int32(percent))
		}
	}
	return reserve
}

// budget is what the pools of the watched namespaces may take: the server's
// budget less what others use, and less what the pools of others hold or are due.
func (s *sighting) budget() int32 {
	total := max(valueOr(s.capacity.Budget, 0)-valueOr(s.use.now.Deducted, 0), 0)
	if len(s.foreignAccounts) == 0 {
		return total
	}
	all := claims.Of(nil, s.pools)
	for _, a := range s.foreignAccounts {
		all = append(all, claims.OfAccount(a))
	}
	shares := budget.Shares(total, all)
	for _, a := range s.foreignAccounts {
		total -= max(*a.Held, shares[budget.PoolKey{Namespace: a.Namespace, Name: a.Name}])
	}
	return max(total, 0)
}
