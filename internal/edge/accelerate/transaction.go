// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// transaction is an interactive transaction, with the connection that it has to itself.
type transaction struct {
	table   *Transactions
	name    string
	owner   owner
	timeout time.Duration
	begun   time.Time
	leave   func()

	timer *time.Timer

	mu sync.Mutex
	// last is how the transaction is to end, once that is decided, and stop ends what runs.
	last state
	stop context.CancelCauseFunc

	// turn is held by who uses the connection, and what follows.
	turn  chan struct{}
	conn  *edge.Conn
	state state
	// savepoints are those of nested transactions that are open, and made how many were.
	savepoints []string
	made       int
}

type state int

const (
	running state = iota
	committed
	rolledBack
	timedOut
)

// over is that a transaction has ended as a state says, while something may run in it.
type over state

func (over) Error() string { return "the transaction is over" }

// start begins the time of a transaction that has begun on a connection.
func (t *Transactions) start(ctx context.Context, conn *edge.Conn, whose owner, timeout time.Duration, leave func()) *transaction {
	tx := &transaction{
		table: t, owner: whose, timeout: timeout, begun: time.Now(), leave: sync.OnceFunc(leave),
		turn: make(chan struct{}, 1), conn: conn,
	}
	ctx = context.WithoutCancel(ctx)
	t.add(tx)
	tx.turn <- struct{}{}
	tx.timer = time.AfterFunc(timeout, func() { tx.abandon(ctx, timedOut) })
	<-tx.turn
	return tx
}

// abandon ends a transaction whatever it does.
func (tx *transaction) abandon(ctx context.Context, state state) {
	tx.interrupt(state)
	tx.turn <- struct{}{} // What runs has just been interrupted.
	defer func() { <-tx.turn }()
	tx.end(ctx, state)
}

// end rolls back what was not committed and lets go of the connection. It is called by
// who has the turn.
func (tx *transaction) end(ctx context.Context, state state) {
	if tx.state != running {
		return
	}
	tx.state = state
	tx.timer.Stop()
	tx.conn.Release(ctx)
	tx.table.remove(tx, state)
	tx.leave()
}

// use runs something in the transaction when those who came before are done. The
// transaction's end interrupts it.
func (tx *transaction) use(ctx context.Context, operation string, do func(context.Context) error) error {
	select {
	case tx.turn <- struct{}{}:
		defer func() { <-tx.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	tx.settle(ctx)
	if tx.state != running {
		return tx.outcome().error(operation)
	}
	inTime, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tx.onInterrupt(stop)
	defer tx.onInterrupt(nil)
	err := do(inTime)
	if errors.As(err, new(over)) {
		tx.settle(ctx)
		return tx.outcome().error(operation)
	}
	if tx.conn.Broken() {
		tx.end(ctx, rolledBack)
	}
	return err
}

// onInterrupt says what ends what runs; nil, that nothing does.
func (tx *transaction) onInterrupt(stop context.CancelCauseFunc) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.stop = stop; stop != nil && tx.last != running {
		stop(over(tx.last))
	}
}

// interrupt decides how the transaction ends, and ends what runs.
func (tx *transaction) interrupt(last state) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.last == running {
		tx.last = last
	}
	if tx.stop != nil {
		tx.stop(over(tx.last))
	}
}

// settle ends a transaction whose end is decided, but waits for its turn.
func (tx *transaction) settle(ctx context.Context) {
	tx.mu.Lock()
	last := tx.last
	tx.mu.Unlock()
	if last != running {
		tx.end(ctx, last)
	}
}

// exec runs a statement of ours.
func (tx *transaction) exec(ctx context.Context, sql string) error {
	_, err := tx.conn.Query(ctx, sql, nil, 0)
	return err
}

// nest begins a transaction in the transaction.
func (tx *transaction) nest(ctx context.Context) error {
	name := fmt.Sprintf("prisma_sp_%d", tx.made)
	if err := tx.exec(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	tx.made++
	tx.savepoints = append(tx.savepoints, name)
	return nil
}

// commit ends the innermost transaction, with effect.
func (tx *transaction) commit(ctx context.Context) error {
	if n := len(tx.savepoints); n > 0 {
		err := tx.exec(ctx, "RELEASE SAVEPOINT "+tx.savepoints[n-1])
		tx.savepoints = tx.savepoints[:n-1]
		return err
	}
	if !tx.timer.Stop() {
		tx.end(ctx, timedOut)
		return tx.outcome().error("commit")
	}
	err := tx.exec(ctx, "COMMIT")
	tx.end(ctx, committed)
	return err
}

// rollback ends the innermost transaction, without effect.
func (tx *transaction) rollback(ctx context.Context) error {
	n := len(tx.savepoints)
	if n == 0 {
		tx.end(ctx, rolledBack)
		return nil
	}
	name := tx.savepoints[n-1]
	tx.savepoints = tx.savepoints[:n-1]
	if err := tx.exec(ctx, "ROLLBACK TO SAVEPOINT "+name); err != nil {
		return err
	}
	return tx.exec(ctx, "RELEASE SAVEPOINT "+name)
}

func (tx *transaction) outcome() outcome {
	return outcome{owner: tx.owner, state: tx.state, timeout: tx.timeout, begun: tx.begun}
}

// error says what became of the transaction to who wants to use it.
func (o outcome) error(operation string) *queryplan.Error {
	switch o.state {
	case committed:
		return transactionError(fmt.Sprintf("Transaction already closed: A %s cannot be executed on a committed transaction.", operation), nil)
	case rolledBack:
		return transactionError(fmt.Sprintf("Transaction already closed: A %s cannot be executed on a transaction that was rolled back.", operation), nil)
	case timedOut, running:
	}
	timeout, taken := o.timeout.Milliseconds(), time.Since(o.begun).Milliseconds()
	return transactionError(fmt.Sprintf("A %s cannot be executed on an expired transaction. The timeout for this transaction was %d ms, "+
		"however %d ms passed since the start of the transaction. "+
		"Consider increasing the interactive transaction timeout or doing less work in the transaction.", operation, timeout, taken),
		map[string]any{"operation": operation, "timeout": timeout, "timeTaken": taken})
}

// Words of transactions are those of Prisma's transaction manager (TransactionManagerErrors.ts
// of @prisma/client-engine-runtime 7.10).

func transactionError(message string, meta any) *queryplan.Error {
	return &queryplan.Error{Status: http.StatusConflict, Code: codeTransaction, Message: "Transaction API error: " + message, Meta: meta}
}

func notFound() *queryplan.Error {
	return transactionError("Transaction not found. Transaction ID is invalid, refers to an old closed transaction Prisma doesn't have information about anymore, "+
		"or was obtained before disconnecting.", nil)
}
