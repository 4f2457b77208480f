// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"fmt"
	"maps"
	"slices"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// order is what PgBouncer is to run.
type order struct {
	grant contract.Grant
	// doc is nil where nothing is to run.
	doc    *document
	limits pgbouncer.Limits
	// problem says why this is not the newest that the manager laid down.
	problem string
}

// parked says that PgBouncer must not run.
func (o order) parked() bool { return len(o.limits) == 0 }

// waits says that there is a grant, but not what to run with it.
func (o order) waits() bool { return o.doc == nil && o.grant.Share > 0 }

// decide picks what to run: the grant if it is this pod's own and newer than what
// was seen, with the configuration it names. Until both are there it is what ran
// before, and before that nothing.
func decide(m memory, in inbox, refused map[string]string) order {
	grant, problem := m.Seen, in.problem
	switch g := in.grant; {
	case g.Gen == 0:
	case in.uid == "" || g.UID != in.uid:
		problem = "the grant is another pod's"
	case g.Gen < m.Seen.Gen:
		problem = fmt.Sprintf("the grant's generation %d is older than %d", g.Gen, m.Seen.Gen)
	case g.Gen == m.Seen.Gen && g != m.Seen:
		problem = fmt.Sprintf("the grant is not the one of generation %d that is in force: only a higher generation changes anything", g.Gen)
	default:
		grant = g
	}
	o := order{grant: m.Released.cap(grant), problem: problem}
	o.doc, problem = choose(o.grant, m.doc, in.doc, refused)
	if problem != "" {
		o.problem = problem
	}
	if o.doc == nil && o.grant.Share > 0 && m.doc != nil {
		o.grant, o.doc = meanwhile(m, o.grant), m.doc
	}
	return o.split()
}

// meanwhile is what holds until the configuration of a newer grant is here: what ran,
// but no more than the newer share, as far as that gives each database a connection.
func meanwhile(m memory, newer contract.Grant) contract.Grant {
	least := int32(len(m.doc.PgBouncer.Databases)) //nolint:gosec // A pool has at most 32.
	ran := m.Released.cap(m.Applied)
	ran.Share = min(ran.Share, max(newer.Share, least))
	return ran
}

// choose finds the configuration that a grant names. One that PgBouncer refused
// leaves the last good one, under the new grant.
func choose(g contract.Grant, last, newest *document, refused map[string]string) (*document, string) {
	if words, bad := refused[g.Config]; bad {
		return last, words
	}
	for _, doc := range []*document{newest, last} {
		if doc != nil && doc.revision == g.Config {
			return doc, ""
		}
	}
	if g.Share == 0 {
		return nil, "" // To stop takes no configuration.
	}
	return nil, fmt.Sprintf("the configuration %s is not here yet", g.Config)
}

func (o order) split() order {
	if o.doc == nil || o.grant.Share == 0 {
		return o
	}
	limits, err := pgbouncer.Split(o.doc.PgBouncer.Databases, o.grant.Share)
	if err != nil {
		o.problem = err.Error()
	}
	o.limits = limits
	return o
}

// step is the next limits on the way from those in force to the wanted. All that
// sinks comes first. Then those that rise get what has been let go, so that the
// databases together never have more than the grant allows.
func step(inForce, want pgbouncer.Limits, current map[string]int32) pgbouncer.Limits {
	if len(lowered(inForce, want)) > 0 {
		return pgbouncer.Lower(inForce, want)
	}
	held := map[string]int32{}
	maps.Copy(held, current)
	for name, limit := range inForce {
		held[name] = max(limit, current[name])
	}
	free, next := want.Sum()-sum(held), maps.Clone(inForce)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		limit := min(want[name], held[name]+max(0, free))
		if limit > inForce[name] {
			next[name] = limit
			free -= max(0, limit-held[name])
		}
	}
	return next
}

// connections are those that each database has.
func connections(sample pgbouncer.Sample) map[string]int32 {
	current := map[string]int32{}
	for _, db := range sample.Databases {
		current[db.Name] = db.CurrentConnections
	}
	return current
}
