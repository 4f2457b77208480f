// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/status"
)

// serverPlan is what a change does to the budget of one server.
type serverPlan struct {
	// Upstream is empty where the server is not known, and then Unknown says why.
	Upstream string `json:"upstream,omitempty"`
	Unknown  string `json:"unknown,omitempty"`
	// Budget is what pools may take together; absent where that is not known.
	Budget         *int32 `json:"budget,omitempty"`
	MinimumsBefore int32  `json:"minimumsBefore"`
	MinimumsAfter  int32  `json:"minimumsAfter"`
	// Needed is what the pools need for all of their poolers to run.
	Needed int32      `json:"needed"`
	Pools  []poolPlan `json:"pools"`
	// Problems keep the change from fitting; Warnings do not.
	Problems []string `json:"problems,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// poolPlan is what a pool is entitled to before and after.
type poolPlan struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Change is new, changed, leaves or none.
	Change string `json:"change"`
	// Poolers are asked for, and each needs so many connections: one for each database.
	Poolers    int32  `json:"poolers"`
	EachNeeds  int32  `json:"eachNeeds"`
	Minimum    int32  `json:"minimum,omitempty"`
	Maximum    int32  `json:"maximum,omitempty"`
	Before     *int32 `json:"before,omitempty"`
	After      *int32 `json:"after,omitempty"`
	RunPoolers *int32 `json:"runPoolers,omitempty"`
}

func (p poolPlan) fullName() string { return p.Namespace + "/" + p.Name }

const (
	changeNew   = "new"
	changeEdit  = "changed"
	changeLeave = "leaves"
	changeNone  = "none"
)

// ground is what a plan for one server stands on.
type ground struct {
	// upstream is nil where the server is not known.
	upstream *poolv1.Upstream
	// budget is nil where nobody knows it.
	budget *int32
	// pools are those that use the server now; hidden are those that only the account
	// tells of.
	pools  []poolv1.ConnectionPool
	hidden []budget.Claim
	// plans are the pools of the file that lead here, or that led here.
	plans []planned
}

// divide works out what the change does.
func (g ground) divide() serverPlan {
	before, after := g.claims()
	plan := serverPlan{Budget: g.budget, Pools: []poolPlan{}}
	was, is := map[budget.PoolKey]int32{}, map[budget.PoolKey]int32{}
	if g.upstream != nil {
		plan.Upstream = g.upstream.Name
	}
	if g.budget != nil {
		ledger := ledgerOf(g.upstream)
		was, is = budget.Entitlements(*g.budget, ledger, before), budget.Entitlements(*g.budget, ledger, after)
	}
	for _, c := range before {
		plan.MinimumsBefore += c.Minimum
		if !slices.ContainsFunc(after, func(o budget.Claim) bool { return o.Key == c.Key }) {
			plan.Pools = append(plan.Pools, poolPlan{
				Namespace: c.Key.Namespace, Name: c.Key.Name, Change: changeLeave,
				Poolers: c.Replicas, EachNeeds: c.Floor, Minimum: c.Minimum, Maximum: c.Maximum, Before: valueIn(was, c.Key),
			})
		}
	}
	for _, c := range after {
		plan.MinimumsAfter += c.Minimum
		plan.Needed += max(c.Minimum, c.Floor*c.Replicas)
		plan.Pools = append(plan.Pools, poolPlan{
			Namespace: c.Key.Namespace, Name: c.Key.Name, Change: g.changeOf(c, before),
			Poolers: c.Replicas, EachNeeds: c.Floor, Minimum: c.Minimum, Maximum: c.Maximum,
			Before: valueIn(was, c.Key), After: valueIn(is, c.Key), RunPoolers: running(is, c),
		})
	}
	slices.SortFunc(plan.Pools, func(a, b poolPlan) int { return strings.Compare(a.fullName(), b.fullName()) })
	g.judge(&plan)
	return plan
}

// claims are those on the server now, and once the file is applied.
func (g ground) claims() (before, after []budget.Claim) {
	var pools []poolv1.ConnectionPool
	for _, pool := range g.pools {
		if !g.speaksOf(pool) {
			pools = append(pools, pool)
		}
	}
	for _, p := range g.plans {
		if p.leads(g.upstream) {
			pools = append(pools, *p.after)
		}
	}
	before = append(claims.Of(g.upstream, g.pools), g.hidden...)
	return before, append(claims.Of(g.upstream, pools), g.hidden...)
}

// speaksOf is whether the file speaks of a pool.
func (g ground) speaksOf(pool poolv1.ConnectionPool) bool {
	return slices.ContainsFunc(g.plans, func(p planned) bool { return p.after.Namespace == pool.Namespace && p.after.Name == pool.Name })
}

// leads is whether the pool is on a server once the file is applied. Who leads to a
// server that is not known is planned with none but its like.
func (p planned) leads(upstream *poolv1.Upstream) bool {
	return upstream == nil || p.server == upstream.Name
}

func (g ground) changeOf(c budget.Claim, before []budget.Claim) string {
	planned := slices.ContainsFunc(g.plans, func(p planned) bool { return p.after.Namespace == c.Key.Namespace && p.after.Name == c.Key.Name })
	known := slices.ContainsFunc(before, func(o budget.Claim) bool { return o.Key == c.Key })
	switch {
	case planned && !known:
		return changeNew
	case planned:
		return changeEdit
	}
	return changeNone
}

// judge says what does not fit, and what fits badly.
func (g ground) judge(plan *serverPlan) {
	for _, p := range g.plans {
		if g.upstream != nil && p.leads(g.upstream) && !claims.Allowed(g.upstream, p.after.Namespace) {
			plan.Problems = append(plan.Problems, fmt.Sprintf("%s/%s: Upstream %s does not let pools of namespace %s in: ask its administrator to add it to spec.allowedNamespaces",
				p.after.Namespace, p.after.Name, g.upstream.Name, p.after.Namespace))
		}
	}
	if plan.Budget == nil {
		return
	}
	plan.judgeSums()
}

// judgeSums says for whom the budget is too small.
func (plan *serverPlan) judgeSums() {
	if plan.MinimumsAfter > *plan.Budget {
		plan.Problems = append(plan.Problems, fmt.Sprintf("The minimums come to %d and the budget is %d: lower serverConnections.minimum of pools by %d, or raise the server's max_connections",
			plan.MinimumsAfter, *plan.Budget, plan.MinimumsAfter-*plan.Budget))
	}
	for _, p := range plan.Pools {
		if p.After == nil || *p.RunPoolers >= p.Poolers || p.spared() {
			continue
		}
		text := p.fullName() + ": " + status.Refusal(*p.After, p.EachNeeds, p.Minimum, *p.RunPoolers, p.Poolers)
		if *p.After == 0 {
			plan.Problems = append(plan.Problems, text)
		} else {
			plan.Warnings = append(plan.Warnings, text)
		}
	}
}

// spared is whether the change makes it no worse for a pool that it does not speak of.
func (p poolPlan) spared() bool {
	return p.Change == changeNone && p.Before != nil && budget.PodsThatFit(*p.Before, p.EachNeeds, p.Poolers) <= *p.RunPoolers
}

func running(entitled map[budget.PoolKey]int32, c budget.Claim) *int32 {
	share, there := entitled[c.Key]
	if !there {
		return nil
	}
	return new(budget.PodsThatFit(share, c.Floor, c.Replicas))
}

func valueIn(shares map[budget.PoolKey]int32, key budget.PoolKey) *int32 {
	share, there := shares[key]
	if !there {
		return nil
	}
	return new(share)
}

func ledgerOf(upstream *poolv1.Upstream) (ledger budget.Ledger) {
	if upstream == nil {
		return ledger
	}
	for _, e := range upstream.Status.Ledger {
		ledger.Entries = append(ledger.Entries, budget.Entry{
			UID: e.UID, Namespace: e.Namespace, Pod: e.Pod, Pool: e.Pool, Granted: number(e.Granted), Held: number(e.Held),
		})
	}
	return ledger
}

// budgetOf is what pools may take of a server now; nil where nobody knows.
func budgetOf(upstream *poolv1.Upstream) *int32 {
	s := upstream.Status
	if s.Capacity.Budget == nil {
		return nil
	}
	return new(max(*s.Capacity.Budget-number(s.Use.Deducted), 0))
}

// declaredBudget is the budget where the server is not known and pools say what it has:
// the lowest of their words.
func declaredBudget(plans []planned) *int32 {
	var lowest int32
	for _, p := range plans {
		if n := p.after.Spec.Upstream.MaxConnections; n > 0 && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	if lowest == 0 {
		return nil
	}
	return new(budget.Declared(lowest, budget.Reserve{}).Connections)
}

// grounds sorts the plans by server, those that are known first. restricted says that
// pools is not all of them.
func grounds(plans []planned, pools []poolv1.ConnectionPool, upstreams map[string]*poolv1.Upstream, restricted bool) []ground {
	byServer := map[string]*ground{}
	var order []string
	join := func(key string, p planned) {
		if byServer[key] == nil {
			byServer[key] = &ground{}
			order = append(order, key)
		}
		byServer[key].plans = append(byServer[key].plans, p)
	}
	for _, p := range plans {
		if p.server != "" {
			join(p.server, p)
		} else {
			join("?"+p.after.Namespace+"/"+p.after.Spec.Upstream.SecretRef.Name, p)
		}
		if p.before != nil && p.before.Status.Upstream.Name != "" && p.before.Status.Upstream.Name != p.server {
			join(p.before.Status.Upstream.Name, p)
		}
	}
	slices.SortStableFunc(order, cmp.Compare[string])
	var out []ground
	for _, key := range order {
		g := byServer[key]
		if upstream := upstreams[key]; upstream != nil {
			g.stand(upstream, pools, restricted)
		} else {
			g.budget = declaredBudget(g.plans)
		}
		out = append(out, *g)
	}
	return out
}

// stand fills in what is known of a server.
func (g *ground) stand(upstream *poolv1.Upstream, pools []poolv1.ConnectionPool, restricted bool) {
	g.upstream, g.budget = upstream, budgetOf(upstream)
	seen := map[budget.PoolKey]bool{}
	for _, pool := range pools {
		if pool.Status.Upstream.Name == upstream.Name {
			g.pools = append(g.pools, pool)
			seen[budget.PoolKey{Namespace: pool.Namespace, Name: pool.Name}] = true
		}
	}
	if !restricted {
		return
	}
	for _, line := range upstream.Status.Pools {
		claim := claims.OfAccount(line)
		claim.Minimum = line.Minimum
		if !seen[claim.Key] {
			g.hidden = append(g.hidden, claim)
		}
	}
}
