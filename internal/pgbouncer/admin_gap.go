// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"context"
	"time"
)

// gapPoll is the pause between two looks for a moment without logins.
const gapPoll = 5 * time.Millisecond

// AwaitNoLogins waits until no login to the server is in flight, for look at most.
// What has PgBouncer replace its server connections (RECONNECT, and RELOAD to another
// server, connect_query or TLS) aborts those that are, and it takes that for a server
// that refuses.
func (a Admin) AwaitNoLogins(ctx context.Context, look time.Duration) (done bool, err error) {
	err = a.session(ctx, func(exec executor) error {
		for end := time.Now().Add(look); ; time.Sleep(gapPoll) {
			logins, err := loginsInFlight(exec)
			if done = err == nil && logins == 0; done || err != nil || !time.Now().Before(end) {
				return err
			}
		}
	})
	return done, err
}

// Reconnect has the server connections closed as clients release them, those of all
// databases where it is empty. Logins in flight are aborted.
func (a Admin) Reconnect(ctx context.Context, database string) error {
	if database == "" {
		return a.command(ctx, "RECONNECT")
	}
	return a.command(ctx, "RECONNECT "+identifier(database))
}

func loginsInFlight(exec executor) (sum int32, err error) {
	rows, err := exec("SHOW POOLS")
	if err != nil {
		return 0, err
	}
	pools, err := poolStates(rows)
	for _, pool := range pools {
		sum += pool.InLogin
	}
	return sum, err
}
