// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// ServerAccount is what an Upstream's account is told from. Nothing in it changes
// while the ledger and the capacity stay.
type ServerAccount struct {
	Capacity poolv1.Capacity
	// Ceiling is spec.maxServerConnections; 0 is none.
	Ceiling int32
	// DirectChosen is true where the administrator said how many are left to others.
	DirectChosen bool
	// Deducted is what others use and the budget bears.
	Deducted int32
	// Elsewhere is what pools that another operator manages hold or are due.
	Elsewhere int32
	// Notes say what else bears on the sum.
	Notes []string
	// Pools are in the order they are told in.
	Pools []PoolShare
	// Left are pools without a claim whose pods hold connections.
	Left []LeftBehind
}

// PoolShare is one pool's line.
type PoolShare struct {
	// Name is namespace/name.
	Name string
	// Weight of the pool, and Weights of all pools it divides with.
	Weight, Weights int32
	// NamespaceWeight is the administrator's for its namespace; 0 is none.
	NamespaceWeight         int32
	Floor, Minimum, Maximum int32
	// Replicas is how many poolers its spec asks for.
	Replicas int32
	// Limits are the sums that it has run into, in words.
	Limits []string

	Entitled, Share, Granted, Held int32
	// Lenders leave idle what the pool has borrowed.
	Lenders []string
	// Due is what it has yet to get, and From the pools that have yet to let go of it.
	Due  int32
	From []string
	// Oldest is the transaction that its own pods wait for.
	Oldest poolv1.OldestTransaction
	// Waiting are its pods that have nothing, by why they wait.
	Waiting []WaitingPods
}

// WaitingPods are pods that wait for one thing.
type WaitingPods struct {
	Pods []string
	// Why completes "waits ...".
	Why string
}

// LeftBehind is a pool that claims nothing while its pods hold connections.
type LeftBehind struct {
	Name string
	// Why says what became of the pool.
	Why  string
	Held int32
}

// AccountLines tells in words how the budget comes about, what each pool gets and
// why, and who waits for whom.
func AccountLines(a ServerAccount) []string {
	if a.Capacity.Budget == nil {
		return nil
	}
	lines := append(arithmetic(a), a.Notes...)
	for _, p := range a.Pools {
		lines = append(lines, p.line())
		for _, w := range p.Waiting {
			lines = append(lines, fmt.Sprintf("%s: %s %s", p.Name, counted(w.Pods, "waits", "wait"), w.Why))
		}
	}
	for _, l := range a.Left {
		lines = append(lines, fmt.Sprintf("%s: %s; its pods hold %d until they end", l.Name, l.Why, l.Held))
	}
	for i, line := range lines {
		lines[i] = shortened(line)
	}
	return lines[:min(len(lines), maxLines)]
}

// sumPrefix begins the line that ends the arithmetic.
const sumPrefix = "= "

// AccountWords are the lines of an account that AccountLines has written without its
// arithmetic: notes, and what each pool gets and why.
func AccountWords(lines []string) []string {
	sum := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, sumPrefix) })
	return lines[sum+1:]
}

const (
	// maxLines and maxLine are what the API takes.
	maxLines = 2048
	maxLine  = 512
)

func shortened(line string) string {
	if len(line) <= maxLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxLine-3], "") + "..."
}

// arithmetic is the sum that leads to the budget, one number a line.
func arithmetic(a ServerAccount) []string {
	c := a.Capacity
	first := fmt.Sprintf("%d max_connections of the server", *c.MaxConnections)
	if c.Source == poolv1.CapacityDeclared {
		first = fmt.Sprintf("%d declared by spec.upstream.maxConnections of a pool, as the server can not be asked", *c.MaxConnections)
	}
	lines := []string{first}
	less := func(n int32, format string, args ...any) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("-%d %s", n, fmt.Sprintf(format, args...)))
		}
	}
	less(number(c.SuperuserReserved), "superuser_reserved_connections")
	less(number(c.Reserved), "reserved_connections")
	less(number(c.Direct), "left to others (spec.directConnections%s)", unless(a.DirectChosen, ", by default"))
	room := max(*c.MaxConnections-number(c.Withheld), 0)
	less(room-*c.Budget, "above the ceiling of %d (spec.maxServerConnections)", a.Ceiling)
	less(a.Deducted, "that others use now; what is left to them is kept free beside")
	less(a.Elsewhere, "of pools in namespaces that another operator watches")
	return append(lines, fmt.Sprintf(sumPrefix+"%d for pools", max(*c.Budget-a.Deducted-a.Elsewhere, 0)))
}

func unless(not bool, text string) string {
	if not {
		return ""
	}
	return text
}

// line is what a pool gets and why, what it has of it, and what it waits for.
func (p PoolShare) line() string {
	parts := []string{fmt.Sprintf("%s: %d %s", p.Name, p.Entitled, p.why())}
	switch {
	case p.Share > p.Entitled:
		parts = append(parts, fmt.Sprintf("borrows %d that %s", p.Share-p.Entitled, idle(p.Lenders)))
	case p.Share < p.Entitled:
		parts = append(parts, fmt.Sprintf("lends %d", p.Entitled-p.Share))
	}
	parts = append(parts, p.has())
	if p.Due > 0 {
		parts = append(parts, p.due())
	}
	if p.Held > p.Granted && p.Oldest.Pod != "" {
		parts = append(parts, letsGo(p.Oldest))
	}
	return strings.Join(parts, "; ")
}

// why is the reason that the pool is entitled to so many.
func (p PoolShare) why() string {
	weighed := fmt.Sprintf("by weight %d of %d", p.Weight, p.Weights)
	if p.NamespaceWeight > 0 {
		weighed += fmt.Sprintf(" in its namespace, which weighs %d", p.NamespaceWeight)
	}
	switch {
	case p.Replicas == 0:
		return "as no pooler is asked for"
	case p.Entitled == 0 && p.Minimum > p.Floor:
		return fmt.Sprintf("as its minimum of %d does not fit beside those of the pools that run", p.Minimum)
	case p.Entitled == 0:
		return fmt.Sprintf("as the %d that one of its poolers needs are not left", p.Floor)
	case p.Maximum > 0 && p.Entitled >= p.Maximum:
		return "as its maximum"
	case len(p.Limits) > 0:
		return "under " + strings.Join(p.Limits, " and ")
	case p.Minimum > 0 && p.Entitled == p.Minimum:
		return "as its minimum"
	}
	return weighed
}

func (p PoolShare) has() string {
	switch {
	case p.Held != p.Granted:
		return fmt.Sprintf("granted %d, may still hold %d", p.Granted, p.Held)
	case p.Granted == p.Share:
		return "granted"
	}
	return fmt.Sprintf("granted %d", p.Granted)
}

func (p PoolShare) due() string {
	if len(p.From) == 0 {
		return fmt.Sprintf("has yet to get %d", p.Due)
	}
	return fmt.Sprintf("waits for %d from %s", p.Due, named(p.From))
}

func idle(lenders []string) string {
	switch len(lenders) {
	case 0:
		return "others leave idle"
	case 1:
		return lenders[0] + " leaves idle"
	}
	return named(lenders) + " leave idle"
}

// fewNames is how many are named before the rest are counted.
const fewNames = 3

func named(names []string) string {
	if len(names) <= fewNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames], ", "), len(names)-fewNames)
}

func counted(pods []string, one, many string) string {
	if len(pods) == 1 {
		return "pod " + pods[0] + " " + one
	}
	return "pods " + named(pods) + " " + many
}
