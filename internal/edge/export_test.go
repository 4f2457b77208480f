// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/netip"

	"github.com/jackc/pgx/v5/pgconn"
)

// Turns has logins take turns without a pooler.
type Turns struct{ turns turns }

// TakeTurn runs a login that takes the given time when its turn comes.
func (t *Turns) TakeTurn(ctx context.Context, pool Pool, caller netip.Addr, login Login, right bool, run func()) error {
	return t.turns.take(ctx, newAttempt(pool, caller, login), func() error {
		run()
		if right {
			return nil
		}
		return wrongLogin{&pgconn.PgError{Code: codeInvalidPassword}}
	})
}

// Remembered is how many secrets, callers and users are.
func (t *Turns) Remembered() int {
	return t.turns.known.Len() + t.turns.callers.Len() + t.turns.users.Len()
}

// Waiting is how many gates there are.
func (t *Turns) Waiting() int {
	return len(t.turns.pools.all) + len(t.turns.strangers.all) + len(t.turns.guesses.all)
}

// Held is how many entries the limiter has.
func (l *Limiter) Held() (pools, callers, rates int) {
	return len(l.pools), len(l.callers), l.rates.Len()
}
