// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// samplePause keeps the sampler from taking a processor for itself.
const samplePause = 2 * time.Millisecond

// Sample is what a server had at one instant. What is counted was seen in the look
// before and again in this one, so all of it was there at once when this look
// began: a look takes the backends one after the other, and would else count one
// that went beside the one that came in its place.
type Sample struct {
	// At is when the look began.
	At time.Time
	// Admitted are the pools' backends that were past their login, the count at the
	// server included.
	Admitted int
	// Backends are Admitted and those whose login is in flight.
	Backends int
	// Busy are those of Admitted that ran a statement or had a transaction open.
	Busy int
	// Others are all other client backends but for the sampler's own.
	Others int
	// Room is max_connections less superuser_reserved_connections and
	// reserved_connections.
	Room int
}

// Sampler looks at pg_stat_activity again and again. The URL's user must be a
// superuser: others do not see what another role's backend runs.
type Sampler struct {
	URL  string
	Dial pgconn.DialFunc
	// Roles are the pools'.
	Roles []string
	// Besides is an application_name whose backends are not the pools', though they
	// have one of their roles.
	Besides string
	// Each is told every sample, one after the other.
	Each func(Sample)
	// Lost is told when and why a look went wrong. The sampler then connects again.
	Lost func(time.Time, error)

	before map[string]backend
}

// backend is what one row says.
type backend struct{ ours, admitted, busy bool }

// Run samples until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.session(ctx); err != nil && ctx.Err() == nil {
			s.Lost(time.Now(), err)
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// session samples over one connection.
func (s *Sampler) session(ctx context.Context) error {
	config, err := Config(s.URL, s.Dial)
	if err != nil {
		return err
	}
	config.ConnectTimeout = 5 * time.Second
	config.RuntimeParams["application_name"] = "poolfleet-sampler"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to sample the server: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	s.before = nil
	for ctx.Err() == nil {
		if err := s.look(ctx, conn); err != nil {
			return err
		}
		pause(ctx, samplePause)
	}
	return nil
}

// The login of a pooler's connection ends with a statement that counts the server's
// connections and may end its own. Before it there is no statement at all.
const sampleQuery = `
select a.pid || ' ' || coalesce(a.backend_start::text, ''), coalesce(a.usename, ''), coalesce(a.application_name, ''),
       a.state is null or a.state = 'starting' or a.query = '' or
         a.state = 'active' and strpos(a.query, 'pg_terminate_backend(pg_backend_pid())') > 0,
       a.state is distinct from 'idle',
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0)
from pg_stat_activity a
where a.backend_type = 'client backend'`

func (s *Sampler) look(ctx context.Context, conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	sample := Sample{At: time.Now()}
	result := conn.ExecParams(ctx, sampleQuery, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("sampling the server: %w", result.Err)
	}
	now := map[string]backend{}
	for _, row := range result.Rows {
		now[string(row[0])] = s.read(row)
		sample.Room, _ = strconv.Atoi(string(row[5]))
	}
	if s.before != nil {
		sample.count(s.before, now)
		s.Each(sample)
	}
	s.before = now
	return nil
}

func (s *Sampler) read(row [][]byte) backend {
	role, application, login, active := string(row[1]), string(row[2]), string(row[3]) == "t", string(row[4]) == "t"
	b := backend{admitted: !login, busy: active && !login}
	for _, ours := range s.Roles {
		b.ours = b.ours || role == ours && application != s.Besides
	}
	return b
}

func (s *Sample) count(before, now map[string]backend) {
	for key, is := range now {
		was, known := before[key]
		switch {
		case !known:
		case !is.ours:
			s.Others++
		default:
			s.Backends++
			if is.admitted && was.admitted {
				s.Admitted++
			}
			if is.busy && was.admitted {
				s.Busy++
			}
		}
	}
	s.Others-- // The sampler's own.
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
