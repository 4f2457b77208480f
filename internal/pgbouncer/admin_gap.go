// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"context"
	"time"
)

// gapPoll is the pause between two looks for a moment without logins.
const gapPoll = 20 * time.Millisecond

// ReloadBetweenLogins is Reload at a moment at which no login to the server is in
// flight: where it closes server connections it would abort one, and PgBouncer
// takes that for a server that refuses. done is false where there was no such
// moment within look.
func (a Admin) ReloadBetweenLogins(ctx context.Context, look time.Duration) (done bool, err error) {
	return a.betweenLogins(ctx, "", "RELOAD", look)
}

// ReconnectBetweenLogins has the server connections of a database closed as clients
// release them, if no login to it is in flight: that would be aborted, too.
func (a Admin) ReconnectBetweenLogins(ctx context.Context, database string) (done bool, err error) {
	return a.betweenLogins(ctx, database, "RECONNECT "+identifier(database), 0)
}

// ReconnectAll is ReconnectBetweenLogins for all databases at once, or in spite of
// logins in flight.
func (a Admin) ReconnectAll(ctx context.Context, inSpite bool) (done bool, err error) {
	if inSpite {
		return true, a.session(ctx, func(exec executor) error {
			_, err := exec("RECONNECT")
			return err
		})
	}
	return a.betweenLogins(ctx, "", "RECONNECT", 0)
}

// betweenLogins looks and acts on one connection, so that hardly a login begins in
// between. An empty database is any.
func (a Admin) betweenLogins(ctx context.Context, database, command string, look time.Duration) (done bool, err error) {
	err = a.session(ctx, func(exec executor) error {
		for end := time.Now().Add(look); ; time.Sleep(gapPoll) {
			logins, err := loginsInFlight(exec, database)
			if err != nil {
				return err
			}
			if logins == 0 {
				done = true
				_, err = exec(command)
				return err
			}
			if !time.Now().Before(end) {
				return nil
			}
		}
	})
	return done, err
}

func loginsInFlight(exec executor, database string) (sum int32, err error) {
	rows, err := exec("SHOW POOLS")
	if err != nil {
		return 0, err
	}
	pools, err := poolStates(rows)
	for _, pool := range pools {
		if database == "" || pool.Database == database {
			sum += pool.InLogin
		}
	}
	return sum, err
}
