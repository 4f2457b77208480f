// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"time"
)

// wrongFor is how long after the last login that failed a password passes for wrong.
const wrongFor = time.Minute

// passwords is for the time in which the server wants another password than
// PgBouncer has: nobody can change it in both places at once, and some begin with
// the one, some with the other. Then the connections that there are are kept, as no
// new one can be had, and the password of before is tried in turn with the newest.
type passwords struct {
	// newest is the configuration's. former is the one of before, for as long as the
	// server may want it; empty is none.
	newest, former string
	// swapped says that PgBouncer's files hold the former.
	swapped bool

	// answered are the failures dealt with. wrong is set until a login succeeds, last
	// is when the last failed, had is what there was then.
	answered int64
	wrong    bool
	last     time.Time
	had      logins
}

// inFiles is what stands in PgBouncer's files for a configuration's password.
func (p passwords) inFiles(password string) string {
	if p.swapped && password == p.newest {
		return p.former
	}
	return password
}

// other is the password that does not stand in the files; empty is none.
func (p passwords) other() string {
	if p.swapped {
		return p.newest
	}
	return p.former
}

// replaced notes that PgBouncer runs another configuration. Before is nil where it
// has just been started.
func (p *passwords) replaced(before, after *document, answered int64) {
	server := after.PgBouncer.Server
	if before != nil && server.Password == p.newest && sameLogin(before, after) {
		return
	}
	next := passwords{newest: server.Password, answered: answered}
	if before != nil && sameLogin(before, after) {
		next.former = p.inFiles(before.PgBouncer.Server.Password)
	}
	if next.former == next.newest {
		next.former = ""
	}
	*p = next
}

func sameLogin(a, b *document) bool {
	x, y := a.PgBouncer.Server, b.PgBouncer.Server
	return x.Host == y.Host && x.Port == y.Port && x.User == y.User
}

// mend deals with logins that fail for the password while there are connections.
func (s *Supervisor) mend(ctx context.Context, have logins, now time.Time) error {
	p, failures := &s.passwords, s.relay.wrongPasswords()
	switch {
	case failures > p.answered:
		return s.wrongPassword(ctx, failures, have, now)
	case p.wrong && (have.newest > p.had.newest || now.Sub(p.last) > wrongFor):
		p.wrong = false
		if have.newest > p.had.newest {
			s.rightPassword()
		}
		return s.reload(ctx) // Connections end with their time again.
	}
	return nil
}

// wrongPassword answers a failure.
func (s *Supervisor) wrongPassword(ctx context.Context, failures int64, have logins, now time.Time) error {
	p := &s.passwords
	if !p.wrong {
		s.Log.Warn("the server takes no login with the password", "connections", have.count, "triesFormer", p.former != "")
	}
	p.answered, p.wrong, p.had, p.last = failures, true, have, now
	if p.former != "" {
		if err := s.swap(ctx); err != nil {
			return err
		}
	}
	return s.keep(ctx)
}

func (s *Supervisor) rightPassword() {
	p := &s.passwords
	s.Log.Info("the server takes logins with the password", "former", p.swapped)
	if !p.swapped {
		p.former = ""
	}
}

// swap puts the other password into PgBouncer's files.
func (s *Supervisor) swap(ctx context.Context) error {
	s.passwords.swapped = !s.passwords.swapped
	return s.rewrite(ctx)
}

// keep has PgBouncer close no connection for its age or for being idle, until it
// reads its files again.
func (s *Supervisor) keep(ctx context.Context) error {
	if err := s.admin.Set(ctx, "server_lifetime", "604800"); err != nil {
		return err
	}
	return s.admin.Set(ctx, "server_idle_timeout", "0")
}
