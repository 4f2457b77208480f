// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"fmt"

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

// decide picks what to run: the grant if it is this pod's own and not older than
// what was seen, with the configuration it names. Until both are there it is what
// ran before, and before that nothing.
func decide(m memory, in inbox, refused map[string]string) order {
	grant, problem := m.Applied, in.problem
	switch g := in.grant; {
	case g.Gen == 0:
	case in.uid == "" || g.UID != in.uid:
		problem = "the grant is another pod's"
	case g.Gen < m.Seen:
		problem = fmt.Sprintf("the grant's generation %d is older than %d", g.Gen, m.Seen)
	default:
		grant = g
	}
	o := order{grant: m.Released.cap(grant), problem: problem}
	o.doc, problem = choose(o.grant, m.doc, in.doc, refused)
	if problem != "" {
		o.problem = problem
	}
	if o.doc == nil && o.grant.Share > 0 && m.doc != nil {
		o.grant, o.doc = m.Released.cap(m.Applied), m.doc // Keep what runs until the configuration is here.
	}
	return o.split()
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

// step is the next limits on the way from those in force to the wanted: all that
// sinks first, so that one database gets only what another has let go.
func step(inForce, want pgbouncer.Limits) pgbouncer.Limits {
	for name, limit := range inForce {
		if want[name] < limit {
			return pgbouncer.Lower(inForce, want)
		}
	}
	return want
}

// raises reports whether a database gets more than it has.
func raises(inForce, next pgbouncer.Limits) bool {
	for name, limit := range next {
		if limit > inForce[name] {
			return true
		}
	}
	return false
}
