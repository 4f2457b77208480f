// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// sampleInterval is the pause between two looks at the server.
const sampleInterval = 10 * time.Millisecond

// Backends watches how many connections a server has. Source: the view
// pg_stat_activity, which shows a backend before it has authenticated its client.
type Backends struct {
	conn *pgconn.PgConn
	done chan struct{}
	stop context.CancelFunc
	// role is whose backends are counted; empty counts everyone's.
	role string
	Seen
	err error
}

// Seen is what a watch saw.
type Seen struct {
	// First is how many backends there were when the watch began.
	First int
	// Largest is the largest number of them at once.
	Largest int
	// Samples is in how many looks.
	Samples int
}

// Watch counts the backends of a role, or of all for an empty one, but for the
// watcher's own connection, until Stop. The URL's user must be a superuser: others
// do not see which rows are clients.
func Watch(ctx context.Context, url string, dial pgconn.DialFunc, role string) (*Backends, error) {
	config, err := Config(url, dial)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["application_name"] = "poolfleet-watch"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to watch the server: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	b := &Backends{conn: conn, done: make(chan struct{}), stop: stop, role: role}
	if b.First, err = b.sample(ctx); err != nil {
		stop()
		return nil, errors.Join(err, conn.Close(ctx))
	}
	go b.watch(ctx)
	return b, nil
}

func (b *Backends) watch(ctx context.Context) {
	defer close(b.done)
	for ctx.Err() == nil {
		count, err := b.sample(ctx)
		if err != nil {
			b.err = err
			return
		}
		b.Samples++
		b.Largest = max(b.Largest, count)
		select {
		case <-ctx.Done():
		case <-time.After(sampleInterval):
		}
	}
}

func (b *Backends) sample(ctx context.Context) (int, error) {
	const query = `select count(*) from pg_stat_activity
		where backend_type = 'client backend' and pid <> pg_backend_pid() and ($1::text = '' or usename = $1::text)`
	// A sample under way is finished: a cancelled one would close the connection.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	result := b.conn.ExecParams(ctx, query, [][]byte{[]byte(b.role)}, nil, nil, nil).Read()
	if result.Err != nil {
		return 0, fmt.Errorf("counting backends: %w", result.Err)
	}
	return strconv.Atoi(string(result.Rows[0][0]))
}

// Stop ends the watch and returns what it saw.
func (b *Backends) Stop(ctx context.Context) (Seen, error) {
	b.stop()
	<-b.done
	closed := b.conn.Close(ctx)
	if b.err != nil {
		return Seen{}, b.err
	}
	if closed != nil {
		return Seen{}, fmt.Errorf("closing the watch: %w", closed)
	}
	return b.Seen, nil
}
