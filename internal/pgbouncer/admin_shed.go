// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"context"
	"errors"
	"strconv"
	"time"
)

const (
	// shedLifetime is the LifetimeSetting while connections are shed. Of each pool
	// PgBouncer then closes one that is older, as it is released or idle, every
	// shedLifetime/pool_size: never all of them at once. Source: PgBouncer's objects.c
	// (life_over, release_server).
	shedLifetime = 200 * time.Millisecond
	// shedPoll is the pause between two looks whether it is enough.
	shedPoll = 5 * time.Millisecond
)

// Shed has server connections of the databases in Rendering.Shedding closed one after
// the other, as clients release them, until it is enough or for look at most. Usual is
// the LifetimeSetting that holds again then; where there is an error it may not. No
// login is aborted and no pool is emptied, as by RECONNECT: a pool that has to log in
// anew may be refused, and PgBouncer turns clients away that find it without any
// connection.
func (a Admin) Shed(ctx context.Context, usual, look time.Duration, enough func([]DatabaseState) bool) error {
	return a.session(ctx, func(exec executor) (err error) {
		if err := live(exec, shedLifetime); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, live(exec, usual)) }()
		for end := time.Now().Add(look); ; time.Sleep(shedPoll) {
			rows, err := exec("SHOW DATABASES")
			if err != nil {
				return err
			}
			states, err := databaseStates(rows)
			if err != nil {
				return err
			}
			if enough(states) || !time.Now().Before(end) {
				return nil
			}
		}
	})
}

func live(exec executor, lifetime time.Duration) error {
	_, err := exec("SET " + LifetimeSetting + " = '" + strconv.FormatFloat(lifetime.Seconds(), 'f', -1, 64) + "'")
	return err
}
