// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Steady are well-behaved clients, as applications with a connection pool are: each
// checks its connection before use, and takes a new one after a while. Count of
// them run until the context ends.
type Steady struct {
	// Name says whose clients they are.
	Name string
	URL  string
	Dial pgconn.DialFunc
	// Mode is the protocol that they speak.
	Mode  pgx.QueryExecMode
	Count int
	// Lifetime of a connection, a quarter more or less.
	Lifetime time.Duration
	// Work is how long a statement keeps the server, Rest the pause after it; both are
	// half as much again or half as little.
	Work, Rest time.Duration
	// Trusting clients do not check a connection before use.
	Trusting bool
	// Failed is told of every query, and every new connection, that failed.
	Failed func(Failure)

	// Served counts the queries that were answered rightly, Renewed the connections
	// that a check found closed.
	Served, Renewed atomic.Int64
	// longest is how long a client wanted an answer, failures and tries included.
	longest atomic.Int64
}

// LongestWait is how long a client wanted an answer at most since it was asked last,
// tries that failed included.
func (s *Steady) LongestWait() time.Duration { return time.Duration(s.longest.Swap(0)) }

// waited notes a wait.
func (s *Steady) waited(d time.Duration) {
	for {
		longest := s.longest.Load()
		if int64(d) <= longest || s.longest.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

// Failure is something that went wrong for a client.
type Failure struct {
	// Client is the Name of whom it happened to.
	Client string
	// Doing is what it was about.
	Doing string
	// From and Until are when that began and when it went wrong.
	From, Until time.Time
	Err         error
}

// Refused reports whether the server had no connection to spare.
func (f Failure) Refused() bool {
	var answer *pgconn.PgError
	return errors.As(f.Err, &answer) && answer.Code == tooManyConnections
}

// Severed reports whether the other side was not there, or went without a word.
func (f Failure) Severed() bool {
	var answer *pgconn.PgError
	return !errors.As(f.Err, &answer) && !errors.Is(f.Err, context.DeadlineExceeded)
}

// answerTimeout is how long a well-behaved client waits for anything.
const answerTimeout = time.Minute

// Run returns once ctx has ended and every client is done with its last query.
func (s *Steady) Run(ctx context.Context) {
	var clients sync.WaitGroup
	for range s.Count {
		clients.Go(func() { (&steadyClient{Steady: s}).run(ctx) })
	}
	clients.Wait()
}

// steadyClient is one of them.
type steadyClient struct {
	*Steady
	conn *pgx.Conn
	ends time.Time
}

func (c *steadyClient) run(ctx context.Context) {
	defer c.leave(ctx)
	wanted := time.Now()
	for ctx.Err() == nil {
		if err := c.once(context.WithoutCancel(ctx)); err != nil {
			c.leave(ctx)
			pause(ctx, 200*time.Millisecond)
			continue
		}
		c.waited(time.Since(wanted))
		c.Served.Add(1)
		pause(ctx, about(c.Rest))
		wanted = time.Now()
	}
}

// once runs one query on a connection that is sound.
func (c *steadyClient) once(ctx context.Context) error {
	if time.Now().After(c.ends) {
		c.leave(ctx)
	}
	if c.conn != nil && !c.Trusting {
		if err := c.doing(ctx, "checking its connection", c.check); err != nil {
			return err
		}
	}
	if c.conn == nil {
		if err := c.doing(ctx, "connecting", c.connect); err != nil {
			return err
		}
	}
	if upTo(3) == 0 {
		return c.doing(ctx, "running a transaction", c.transaction)
	}
	return c.doing(ctx, "running a query", c.query)
}

// doing does something in bounded time and tells of its failure.
func (c *steadyClient) doing(ctx context.Context, what string, do func(context.Context) error) error {
	from := time.Now()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := do(ctx)
	if err != nil {
		c.Failed(Failure{Client: c.Name, Doing: what, From: from, Until: time.Now(), Err: err})
	}
	return err
}

// check finds out whether the connection still is one. One that was closed while
// nobody used it is what the check is for; any other bad answer is a failure.
func (c *steadyClient) check(ctx context.Context) error {
	err := c.conn.Ping(ctx)
	if err == nil {
		return nil
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && !farewell(answer) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	c.Renewed.Add(1)
	c.leave(ctx)
	return nil
}

// farewell reports whether PgBouncer closed an idle connection because it ends.
// Source: PgBouncer src/janitor.c, client_idle_timeout and shutdown.
func farewell(answer *pgconn.PgError) bool {
	return answer.Message == "client_idle_timeout" || strings.Contains(answer.Message, "shutting down")
}

func (c *steadyClient) connect(ctx context.Context) error {
	config, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return errors.New("reading a database URL: it is malformed") // The parser's error quotes it.
	}
	config.DialFunc = c.Dial
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DefaultQueryExecMode = c.Mode
	c.conn, err = pgx.ConnectConfig(ctx, config)
	c.ends = time.Now().Add(c.Lifetime*3/4 + upTo(c.Lifetime/2))
	return err
}

func (c *steadyClient) leave(ctx context.Context) {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = c.conn.Close(ctx)
	}
	c.conn = nil
}

// query runs one statement that keeps the server for a while and checks its answer.
func (c *steadyClient) query(ctx context.Context) error {
	return ask(ctx, c.conn, about(c.Work))
}

// transaction runs two statements and the pause between them in one transaction.
func (c *steadyClient) transaction(ctx context.Context) error {
	return pgx.BeginFunc(ctx, c.conn, func(tx pgx.Tx) error {
		if err := ask(ctx, tx, about(c.Work)/2); err != nil {
			return err
		}
		pause(ctx, about(c.Work)/4)
		return ask(ctx, tx, about(c.Work)/4)
	})
}

type querier interface {
	QueryRow(ctx context.Context, statement string, args ...any) pgx.Row
}

func ask(ctx context.Context, conn querier, work time.Duration) error {
	sent, got := upTo(int64(math.MaxInt64)), int64(0)
	if err := conn.QueryRow(ctx, "select $1::bigint from pg_sleep($2)", sent, work.Seconds()).Scan(&got); err != nil {
		return err
	}
	if got != sent {
		return fmt.Errorf("the answer to %d was %d: it is another query's", sent, got)
	}
	return nil
}

// about is d, half as much again or half as little.
func about(d time.Duration) time.Duration { return d/2 + upTo(max(d, 1)) }

// upTo is any number from 0 to n, n left out.
func upTo[N int | int64 | time.Duration](n N) N {
	return rand.N(n) //nolint:gosec // Chance, and no secret.
}
