// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// moved says that the server's name leads to another server than before. PgBouncer
// asks for the address only when it opens a connection, so those that it has would
// stay where they are for as long as the server there lives.
func moved(before, after pgbouncer.Server) bool {
	return before.Incarnation != "" && after.Incarnation != "" && before.Incarnation != after.Incarnation && before.Host == after.Host
}

// reconnects are when all server connections are to be replaced after a move: at once,
// and when PgBouncer has forgotten the address that the name led to before. Those
// opened in between may have gone there.
func reconnects(now time.Time, cfg pgbouncer.Config) []time.Time {
	return []time.Time{now, now.Add(cfg.AddressKept() + time.Second)}
}

// follow has PgBouncer replace its connections when that is due, each as its client
// releases it. A login that takes longer than any should is given up for it: the
// server that it waits for may be the one that is gone.
func (s *Supervisor) follow(ctx context.Context) error {
	due := s.upheaval.reconnects
	if len(due) == 0 || time.Now().Before(due[0]) {
		return nil
	}
	late := time.Since(due[0]) > longestForGap
	done, err := s.reconnect(ctx, "", late)
	if done {
		s.upheaval.reconnects = due[1:]
		s.Log.Info("the server's name leads to another server; connections to the one before are replaced", "left", len(due)-1)
	}
	return err
}
