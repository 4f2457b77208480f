// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// longestForGap is how long a change waits for a moment without logins. Where
	// there is none it is made all the same.
	longestForGap = 3 * time.Second
	// gapLook is how much of that is spent without a pause, looking every gapPoll.
	gapLook = 200 * time.Millisecond
	gapPoll = 20 * time.Millisecond
	// quickTime is how long logins are tried again after quickRetry, once PgBouncer
	// was told something that aborts those it had in flight.
	quickTime  = 2 * time.Second
	quickRetry = 100 * time.Millisecond
)

// upheaval is a change that makes PgBouncer close its server connections. It aborts
// logins in flight, and PgBouncer takes that for a server that refuses: where it has
// no other connection for the database it turns clients away.
type upheaval struct {
	// since is when the change was first wanted; zero is none.
	since time.Time
	// last is when PgBouncer was last told such a thing.
	last time.Time
}

// quicken is the interval between logins in place of the one that refusals ask for
// (0 is none): those that have no room are not to come quicker.
func (u upheaval) quicken(interval time.Duration, now time.Time) time.Duration {
	if interval == 0 && now.Sub(u.last) < quickTime {
		return quickRetry
	}
	return interval
}

// dirties says that PgBouncer takes the databases of after for others than those of
// before, and so closes their connections. A password alone does not do so. Source:
// PgBouncer's loader.c (parse_database) and sbuf.c (sbuf_tls_setup).
func dirties(before, after pgbouncer.Config) bool {
	was, is := before.Server, after.Server
	was.Password, is.Password = "", ""
	if was != is || before.ConnectQuery != after.ConnectQuery {
		return true
	}
	return slices.ContainsFunc(after.Databases, func(db pgbouncer.Database) bool {
		return slices.ContainsFunc(before.Databases, func(old pgbouncer.Database) bool {
			return old.Name == db.Name && old.Database != db.Database
		})
	})
}

// reloadTo makes PgBouncer read the files of want. Where they close its connections
// that is done when no login is in flight; done is false where it has to be tried again.
func (s *Supervisor) reloadTo(ctx context.Context, want order) (done bool, err error) {
	if s.running.doc == nil || !dirties(s.running.doc.PgBouncer, want.doc.PgBouncer) {
		s.upheaval.since = time.Time{}
		return true, s.reload(ctx)
	}
	now := time.Now()
	if s.upheaval.since.IsZero() {
		s.upheaval.since = now
	}
	if now.Sub(s.upheaval.since) < longestForGap {
		done, err = s.inGap(ctx, "", "RELOAD", gapLook)
	} else {
		done, err = true, s.admin.Reload(ctx)
	}
	if done {
		s.retries.inForce = 0
		s.upheaval = upheaval{last: time.Now()}
	}
	return done, err
}

// inGap runs a command of the console once no login to the database is in flight;
// "" is any database. It looks and acts on one connection, so that hardly a login
// begins in between. ran is false where there was no such moment.
func (s *Supervisor) inGap(ctx context.Context, database, command string, look time.Duration) (ran bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.admin.Timeout)
	defer cancel()
	conn, err := s.console(ctx)
	if err != nil {
		return false, fmt.Errorf("connecting to PgBouncer's console: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for end := time.Now().Add(look); ; time.Sleep(gapPoll) {
		logins, err := loginsInFlight(ctx, conn, database)
		if err != nil {
			return false, fmt.Errorf("looking for logins in flight: %w", err)
		}
		if logins == 0 {
			break
		}
		if !time.Now().Before(end) {
			return false, nil
		}
	}
	if _, err := conn.Exec(ctx, command).ReadAll(); err != nil {
		return true, fmt.Errorf("running %s in PgBouncer's console: %w", command, err)
	}
	return true, nil
}

// console is a connection that outlives a command, unlike those of pgbouncer.Admin.
func (s *Supervisor) console(ctx context.Context) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig("host=/ port=1 user=pgbouncer dbname=pgbouncer sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.Password = s.admin.SocketDir, s.admin.Port, ""
	cfg.RuntimeParams = map[string]string{"application_name": "poolfleet"}
	if s.admin.Dial != nil {
		cfg.DialFunc = s.admin.Dial
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

// loginsInFlight sums SHOW POOLS.sv_login.
func loginsInFlight(ctx context.Context, conn *pgconn.PgConn, database string) (sum int, err error) {
	results, err := conn.Exec(ctx, "SHOW POOLS").ReadAll()
	if err != nil {
		return 0, err
	}
	for _, result := range results {
		column := func(name string) int {
			return slices.IndexFunc(result.FieldDescriptions, func(f pgconn.FieldDescription) bool { return f.Name == name })
		}
		name, logins := column("database"), column("sv_login")
		if name < 0 || logins < 0 {
			return 0, fmt.Errorf("SHOW POOLS has no columns database and sv_login")
		}
		for _, row := range result.Rows {
			count, err := strconv.Atoi(string(row[logins]))
			if err != nil {
				return 0, err
			}
			if database == "" || string(row[name]) == database {
				sum += count
			}
		}
	}
	return sum, nil
}
