// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"
	"time"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Change of a budget, in words; its zero value is none.
type Change struct {
	Shrank bool
	Text   string
}

// BudgetChange compares what pools may take before and after. The first budget of a
// server is no change.
func BudgetChange(before, after poolv1.UpstreamStatus) Change {
	old, now := effective(before), effective(after)
	if before.Capacity.Budget == nil || after.Capacity.Budget == nil || old == now {
		return Change{}
	}
	why := causes(before, after)
	if len(why) == 0 {
		why = []string{"spec.maxServerConnections was changed"}
	}
	return Change{
		Shrank: now < old,
		Text:   fmt.Sprintf("Pools may take %d connections together, before it was %d: %s", now, old, strings.Join(why, ", ")),
	}
}

func effective(s poolv1.UpstreamStatus) int32 {
	return max(number(s.Capacity.Budget)-number(s.Use.Deducted), 0)
}

func causes(before, after poolv1.UpstreamStatus) (why []string) {
	b, a := before.Capacity, after.Capacity
	for _, part := range []struct {
		name     string
		old, now *int32
	}{
		{"max_connections is", b.MaxConnections, a.MaxConnections},
		{"superuser_reserved_connections is", b.SuperuserReserved, a.SuperuserReserved},
		{"reserved_connections is", b.Reserved, a.Reserved},
		{"what is left to others is", b.Direct, a.Direct},
		{"what others use and comes off the budget is", before.Use.Deducted, after.Use.Deducted},
	} {
		if old, now := number(part.old), number(part.now); old != now {
			why = append(why, fmt.Sprintf("%s %d and was %d", part.name, now, old))
		}
	}
	return why
}

// Refusal says that a pool gets too little for the poolers it asks for.
func Refusal(entitled, floor, minimum, fit, replicas int32) string {
	if entitled == 0 && minimum > floor {
		return fmt.Sprintf("The pool's minimum of %d connections does not fit beside those of the pools that run: lower it or theirs, or raise the server's max_connections", minimum)
	}
	if fit >= replicas {
		return "A pooler waits for connections that the pool's other poolers have: lower spec.replicas, or raise the server's max_connections or the CONNECTION LIMIT of its role or database"
	}
	return fmt.Sprintf("The pool gets %d connections, enough for %d of %d poolers at %d each: lower spec.replicas, or raise the server's max_connections or the CONNECTION LIMIT of its role or database",
		entitled, fit, replicas, floor)
}

// LetsGo completes a sentence on pods that hold what they should not with the
// transaction that they wait for; it is empty where that is not known.
func LetsGo(o poolv1.OldestTransaction) string {
	if o.Pod == "" {
		return ""
	}
	return ": " + letsGo(o)
}

func letsGo(o poolv1.OldestTransaction) string {
	text := "pod " + o.Pod + " lets go when a transaction ends"
	if o.PID != 0 {
		text = fmt.Sprintf("pod %s lets go when backend %d ends its transaction", o.Pod, o.PID)
	}
	if o.Since != nil {
		text += ", in it since " + o.Since.UTC().Format(time.RFC3339)
	}
	return text
}
