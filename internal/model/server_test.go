// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"math"
	"time"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// unlimited is what PgBouncer makes of a limit of 0.
const unlimited = math.MaxInt32 / 1024

// pgbouncer is the process in a pod and its server connections.
type pgbouncer struct {
	running bool
	// limit is both max_db_connections and pool_size; 0 is none at all.
	limit int32
	// idle and active connections are used; logins have not counted themselves in.
	idle, active, logins int32
	// drains is whether there was a PgBouncer to drain when the container was told to end.
	drains bool
}

// current is SHOW DATABASES.current_connections.
func (b *pgbouncer) current() int32 { return b.idle + b.active + b.logins }

// postgreSQL is the server: who has a backend.
type postgreSQL struct {
	w                                *world
	up                               bool
	started                          time.Time
	max, superuserReserved, reserved int32
	// orphans are backends whose client has closed its side: they go on until the
	// server notices.
	orphans int32
	// others are direct sessions.
	others int32
}

func (s *postgreSQL) observation() postgres.Observation {
	return postgres.Observation{
		Version: "18.0", VersionNum: 180000, SystemIdentifier: "7", StartTime: s.started, ServerAddress: "10.0.0.1", ServerPort: 5432,
		MaxConnections: s.max, SuperuserReserved: s.superuserReserved, Reserved: s.reserved,
		BackendPIDMatches: true, RoleOID: 16384, AdmissionChecked: true,
	}
}

func (s *postgreSQL) capacity() budget.Capacity {
	return budget.Capacity{MaxConnections: s.max, SuperuserReserved: s.superuserReserved, Reserved: s.reserved}
}

// slots are the backends that roles without privileges can have.
func (s *postgreSQL) slots() int32 { return s.max - s.superuserReserved - s.reserved }

// limit is what admission counts against.
func (s *postgreSQL) limit() int32 { return s.slots() - direct }

// admitted are the pools' backends that have counted themselves in, those that
// nobody uses any more included; logins are those that have not.
func (s *postgreSQL) admitted() (admitted, logins int32) {
	for _, p := range s.w.pods {
		admitted += p.idle + p.active
		logins += p.logins
	}
	return admitted + s.orphans, logins
}

func (s *postgreSQL) backends() int32 {
	admitted, logins := s.admitted()
	return admitted + logins + s.others
}

// connect begins logins, as many as PgBouncer's limit and the server's slots allow.
func (p *pod) connect(n int32) {
	limit := p.limit
	if limit == 0 {
		limit = unlimited
	}
	s := &p.w.server
	if p.running && s.up {
		p.logins += max(min(n, limit-p.current(), s.slots()-s.backends()), 0)
	}
}

// countIn is connect_query on one login: it counts all, itself included, and ends
// itself when they are too many.
func (p *pod) countIn() {
	if p.logins == 0 {
		return
	}
	s := &p.w.server
	over := s.backends() > s.limit()
	p.logins--
	if !over || p.w.mutant.noAdmission {
		p.idle++
	}
}

// begin and finish are transactions.
func (p *pod) begin(n int32) {
	n = min(n, p.idle)
	p.idle, p.active = p.idle-n, p.active+n
}

// finish ends transactions. PgBouncer closes a connection that is above its limit
// as it is released.
func (p *pod) finish(n int32) {
	n = min(n, p.active)
	p.idle, p.active = p.idle+n, p.active-n
	p.shrink()
}

// shrink closes idle connections above the limit.
func (p *pod) shrink() {
	if p.running && p.limit > 0 {
		p.close(min(p.idle, max(p.current()-p.limit, 0)))
	}
}

// close gives connections back; their backends end a moment later.
func (p *pod) close(n int32) {
	p.idle -= n
	p.w.server.orphans += n
}

// vanish is clients that go away in the middle of a query: PgBouncer closes the
// connections, and the server works on.
func (p *pod) vanish(n int32) {
	n = min(n, p.active)
	p.active -= n
	p.w.server.orphans += n
}

// drop is the end of the process with all its connections.
func (b *pgbouncer) reset() int32 {
	open := b.idle + b.active
	*b = pgbouncer{drains: b.drains}
	return open
}

func (p *pod) drop() { p.w.server.orphans += p.reset() }

// restart takes everybody's connections, and may bring other settings.
func (s *postgreSQL) restart(connections int32) {
	s.max, s.orphans, s.others, s.started = connections, 0, 0, s.w.clock()
	for _, p := range s.w.pods {
		p.idle, p.active, p.logins = 0, 0, 0
	}
}
