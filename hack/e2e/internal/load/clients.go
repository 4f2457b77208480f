// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package load puts a bounded load on a PostgreSQL server, straight or through a
// pool, and counts what the server sees of it. It knows URLs and connections, and
// nothing of Kubernetes.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// tooManyConnections is the SQLSTATE of a server that has no connection to spare.
// Source: PostgreSQL, Appendix A, PostgreSQL Error Codes.
const tooManyConnections = "53300"

// Clients connect at once, stay connected together, and then run statements.
type Clients struct {
	// URL they connect to.
	URL string
	// Dial opens their connections.
	Dial pgconn.DialFunc
	// Count of clients.
	Count int
	// Statement that each runs, Rounds times.
	Statement string
	Rounds    int
	// Timeout of the whole of it.
	Timeout time.Duration
}

// Result is what became of the clients. Served, Refused and Failed add up to all.
type Result struct {
	// Served clients connected and had every statement answered.
	Served int
	// Refused clients were told that the server has too many connections.
	Refused int
	// Failed clients met any other error.
	Failed int
	// Err is one of the others' errors.
	Err error
	// Elapsed is the time from the first client's start to the last one's end.
	Elapsed time.Duration
}

// Run returns when all clients are done.
func (c Clients) Run(ctx context.Context) (Result, error) {
	config, err := Config(c.URL, c.Dial)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	started := time.Now()
	outcomes := make(chan error, c.Count)
	var arrived sync.WaitGroup
	arrived.Add(c.Count)
	for range c.Count {
		go func() { outcomes <- c.client(ctx, config, &arrived) }()
	}
	var result Result
	for range c.Count {
		result.add(<-outcomes)
	}
	result.Elapsed = time.Since(started)
	return result, nil
}

func (r *Result) add(err error) {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		r.Served++
	case errors.As(err, &answer) && answer.Code == tooManyConnections:
		r.Refused++
	default:
		r.Failed++
		r.Err = err
	}
}

// client connects, waits until every client has connected or been turned away, and
// runs its statements.
func (c Clients) client(ctx context.Context, config *pgconn.Config, arrived *sync.WaitGroup) error {
	conn, err := pgconn.ConnectConfig(ctx, config)
	arrived.Done()
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	arrived.Wait()
	for range c.Rounds {
		if _, err := conn.Exec(ctx, c.Statement).ReadAll(); err != nil {
			return fmt.Errorf("running a statement: %w", err)
		}
	}
	return nil
}

// Config reads a URL and makes its connections go through dial, which resolves names itself.
func Config(url string, dial pgconn.DialFunc) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, errors.New("reading a database URL: it is malformed") // The parser's error quotes it.
	}
	config.DialFunc = dial
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return config, nil
}
