// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/status"
)

// accounts are the pools' lines, in the order of their names.
func accounts(upstream *poolv1.Upstream, account budget.Account, ledger budget.Ledger, s *sighting) []poolv1.PoolAccount {
	oldest, roles := oldestOf(upstream, ledger, s), rolesOf(upstream.Status.Pools)
	maps.Copy(roles, s.roles)
	out := slices.Clone(s.foreignAccounts)
	for _, p := range account.Pools {
		out = append(out, poolv1.PoolAccount{
			Namespace: p.Key.Namespace, Name: p.Key.Name, Weight: p.Weight, Floor: p.Floor,
			Minimum: p.Minimum, Entitled: new(p.Entitled), Share: new(p.Share), Granted: new(p.Granted), Held: new(p.Held),
			Waiting: new(int32(len(p.Waiting))), //nolint:gosec // A pool's pods are a few hundred.
			Oldest:  oldest[p.Key], RoleOID: roles[p.Key],
		})
	}
	slices.SortFunc(out, func(a, b poolv1.PoolAccount) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out
}

// rolesOf are the roles in some lines, as far as they are known.
func rolesOf(lines []poolv1.PoolAccount) map[budget.PoolKey]int64 {
	roles := map[budget.PoolKey]int64{}
	for _, line := range lines {
		if line.RoleOID != 0 {
			roles[budget.PoolKey{Namespace: line.Namespace, Name: line.Name}] = line.RoleOID
		}
	}
	return roles
}

// worthTelling is the age from which a transaction is named that a hand-over waits
// for: most are over before anybody could read of them.
const worthTelling = 2 * time.Second

// oldestOf is the longest transaction that each pool's pods wait for before they have
// let go.
func oldestOf(upstream *poolv1.Upstream, ledger budget.Ledger, s *sighting) map[budget.PoolKey]poolv1.OldestTransaction {
	out := map[budget.PoolKey]poolv1.OldestTransaction{}
	for _, e := range ledger.Entries {
		letting := s.acks[e.UID].LettingGo
		if e.Held <= e.Granted || letting == nil || letting.Since == 0 {
			continue
		}
		since := metav1.Unix(letting.Since, 0)
		key := budget.PoolKey{Namespace: e.Namespace, Name: e.Pool}
		first, known := out[key]
		if s.now.Sub(since.Time) < worthTelling || known && !since.Before(first.Since) {
			continue
		}
		out[key] = poolv1.OldestTransaction{Pod: e.Pod, PID: letting.PID, Since: &since}
	}
	for _, before := range upstream.Status.Pools {
		key := budget.PoolKey{Namespace: before.Namespace, Name: before.Name}
		// The next statement of the same transaction is no news.
		if now, still := out[key]; still && now.Pod == before.Oldest.Pod && now.PID == before.Oldest.PID {
			out[key] = before.Oldest
		}
	}
	return out
}

// tellAccount is the account in words.
func tellAccount(upstream *poolv1.Upstream, account budget.Account, pools []poolv1.PoolAccount, ledger budget.Ledger, s *sighting) []string {
	deducted := valueOr(s.use.now.Deducted, 0)
	a := status.ServerAccount{
		Capacity: s.capacity, Ceiling: upstream.Spec.MaxServerConnections, DirectChosen: upstream.Spec.DirectConnections != nil,
		Deducted: deducted, Elsewhere: max(valueOr(s.capacity.Budget, 0)-deducted-s.budget(), 0),
		Left: leftBehind(upstream, ledger, s), Notes: s.identity.lines(),
	}
	oldest := map[budget.PoolKey]poolv1.OldestTransaction{}
	for _, p := range pools {
		oldest[budget.PoolKey{Namespace: p.Namespace, Name: p.Name}] = p.Oldest
	}
	claims := map[budget.PoolKey]budget.Claim{}
	for _, c := range s.facts.Claims {
		claims[c.Key] = c
	}
	for _, p := range account.Pools {
		line := shareOf(claims[p.Key], p, oldest[p.Key])
		line.Weights = weightsBeside(claims[p.Key], s.facts.Claims)
		line.Limits = limitsMet(claims[p.Key], claims, account.Pools)
		line.Lenders, line.From = lenders(p, account.Pools), releasing(p, account.Pools)
		a.Pools = append(a.Pools, line)
	}
	return status.AccountLines(a)
}

func shareOf(c budget.Claim, p budget.PoolAccount, oldest poolv1.OldestTransaction) status.PoolShare {
	return status.PoolShare{
		Name: nameOf(p.Key), Weight: p.Weight, NamespaceWeight: c.Namespace.Weight,
		Floor: p.Floor, Minimum: p.Minimum, Maximum: c.Maximum, Replicas: c.Replicas,
		Entitled: p.Entitled, Share: p.Share, Granted: p.Granted, Held: p.Held,
		Due: p.Due, Oldest: oldest, Waiting: waitingPods(p.Waiting),
	}
}

func nameOf(key budget.PoolKey) string { return key.Namespace + "/" + key.Name }

// weightsBeside is the sum that a pool's weight is a part of: within its namespace
// where that has a weight, else of all pools and namespaces that weigh by themselves.
func weightsBeside(c budget.Claim, all []budget.Claim) (sum int32) {
	counted := map[string]bool{}
	for _, other := range all {
		same, apart := other.Key.Namespace == c.Key.Namespace, other.Namespace.Weight > 0
		switch {
		case other.Replicas == 0 || c.Namespace.Weight > 0 && !same:
		case c.Namespace.Weight > 0 || !apart:
			sum += other.Weight
		case !counted[other.Key.Namespace]:
			counted[other.Key.Namespace] = true
			sum += other.Namespace.Weight
		}
	}
	return sum
}

// limitsMet are the sums that a pool shares with others and that are used up.
func limitsMet(c budget.Claim, claims map[budget.PoolKey]budget.Claim, pools []budget.PoolAccount) (met []string) {
	used := func(under func(budget.Claim) bool) (sum int32) {
		for _, p := range pools {
			if under(claims[p.Key]) {
				sum += p.Entitled
			}
		}
		return sum
	}
	same := func(a, b *budget.Limit) bool { return a != nil && a.Key == b.Key }
	if l := c.RoleLimit; l != nil && used(func(o budget.Claim) bool { return same(o.RoleLimit, l) }) >= l.Connections {
		met = append(met, fmt.Sprintf("the CONNECTION LIMIT %d of role %q", l.Connections, l.Key))
	}
	if l := c.DatabaseLimit; l != nil && used(func(o budget.Claim) bool { return same(o.DatabaseLimit, l) }) >= l.Connections {
		met = append(met, fmt.Sprintf("the CONNECTION LIMIT %d of database %q", l.Connections, l.Key))
	}
	inNamespace := func(o budget.Claim) bool { return o.Key.Namespace == c.Key.Namespace }
	if m := c.Namespace.Maximum; m > 0 && used(inNamespace) >= m {
		met = append(met, fmt.Sprintf("the maximum %d of its namespace (spec.namespaces)", m))
	}
	return met
}

// lenders are the pools that leave idle what this one has borrowed.
func lenders(p budget.PoolAccount, pools []budget.PoolAccount) (names []string) {
	for _, other := range pools {
		if p.Share > p.Entitled && other.Share < other.Entitled {
			names = append(names, nameOf(other.Key))
		}
	}
	return names
}

// releasing are the pools that have yet to let go of what this one is due.
func releasing(p budget.PoolAccount, pools []budget.PoolAccount) (names []string) {
	for _, other := range pools {
		switch {
		case p.Due == 0 || other.Releasing == 0:
		case other.Key == p.Key:
			names = append(names, "its own pods")
		default:
			names = append(names, nameOf(other.Key))
		}
	}
	return names
}

// waitingPods are the pods that have nothing, by why they wait.
func waitingPods(waiting []budget.Waiting) (out []status.WaitingPods) {
	words := []struct {
		reason budget.Reason
		why    string
	}{
		{budget.InsufficientBudget, "for a place: what the pool may have is given to its other pods"},
		{budget.WaitingForRelease, "for connections that others have yet to let go of"},
		{budget.ServerUnreachable, "for the server to answer: nothing is raised before"},
	}
	for _, w := range words {
		var pods []string
		for _, pod := range waiting {
			if pod.Reason == w.reason {
				pods = append(pods, pod.Pod)
			}
		}
		if len(pods) > 0 {
			out = append(out, status.WaitingPods{Pods: pods, Why: w.why})
		}
	}
	return out
}

// leftBehind are the pools without a claim whose pods hold connections.
func leftBehind(upstream *poolv1.Upstream, ledger budget.Ledger, s *sighting) (out []status.LeftBehind) {
	claimed := map[budget.PoolKey]bool{}
	for _, c := range s.facts.Claims {
		claimed[c.Key] = true
	}
	sums := map[budget.PoolKey]int32{}
	for _, e := range ledger.Entries {
		if key := (budget.PoolKey{Namespace: e.Namespace, Name: e.Pool}); !claimed[key] && e.Held > 0 {
			sums[key] += e.Held
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(sums), budget.PoolKey.Compare) {
		why := "it is gone from this server"
		if i := slices.IndexFunc(s.pools, func(p poolv1.ConnectionPool) bool { return p.Namespace == key.Namespace && p.Name == key.Name }); i >= 0 {
			why = cmp.Or(notAllowed(upstream, key.Namespace), "it is being deleted")
		}
		out = append(out, status.LeftBehind{Name: nameOf(key), Why: why, Held: sums[key]})
	}
	return out
}

func notAllowed(upstream *poolv1.Upstream, namespace string) string {
	if claims.Allowed(upstream, namespace) {
		return ""
	}
	return "its namespace is not in spec.allowedNamespaces"
}
