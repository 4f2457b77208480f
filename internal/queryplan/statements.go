// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
	"time"
)

func (n *executeNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	return x.chunks(ctx, s, n.statement, func(ctx context.Context, parts []rendered) (value, error) {
		affected := 0.0
		for _, part := range parts {
			result, err := x.query(ctx, n.statement, part)
			if err != nil {
				return nil, err
			}
			affected += float64(result.RowsAffected)
		}
		return affected, nil
	})
}

func (n *queryNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	return x.chunks(ctx, s, n.statement, func(ctx context.Context, parts []rendered) (value, error) {
		var whole Result
		for i, part := range parts {
			result, err := x.query(ctx, n.statement, part)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				whole = result
			} else {
				whole.Rows = append(whole.Rows, result.Rows...)
			}
		}
		read, err := x.read(whole, n.statement.raw)
		if err != nil {
			return nil, x.dialect.translate(err, n.statement.raw)
		}
		return read, nil
	})
}

// chunks renders the statement, and runs its parts in one transaction if it has several.
func (x *execution) chunks(ctx context.Context, s *scope, of *statement, run func(context.Context, []rendered) (value, error)) (value, error) {
	parts, err := x.render(of, s)
	if err != nil {
		return nil, err
	}
	if len(parts) == 1 {
		return run(ctx, parts)
	}
	return x.inOneTransaction(ctx, func(ctx context.Context) (value, error) { return run(ctx, parts) })
}

// query runs one statement. What the server refuses is told as the plan's kind of
// statement has it.
func (x *execution) query(ctx context.Context, of *statement, part rendered) (Result, error) {
	if x.statements++; x.statements > x.limits.Statements {
		return Result{}, errTooManyStatements
	}
	parameters, err := x.parameters(part)
	if err != nil {
		return Result{}, err
	}
	if x.comment != "" {
		part.sql += " " + x.comment
	}
	result, err := x.send(part.sql, part.args, func() (Result, error) {
		if script, ok := x.conn.(Scripter); ok && of.raw && len(parameters) == 0 {
			return script.Script(ctx, part.sql)
		}
		return x.conn.Query(ctx, part.sql, parameters)
	})
	if err != nil {
		return Result{}, x.dialect.translate(err, of.raw)
	}
	if x.rows += len(result.Rows); x.rows > x.limits.Rows {
		return Result{}, errTooManyRows
	}
	return result, nil
}

// send traces the statement that it is given to run.
func (x *execution) send(sql string, args []value, send func() (Result, error)) (Result, error) {
	span := x.trace.begin("db_query", sql)
	begun := time.Now()
	result, err := send()
	if err == nil {
		x.trace.query(sql, args, begun)
	}
	span.end()
	return result, err
}

func (n *transactionNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	return x.inOneTransaction(ctx, func(ctx context.Context) (value, error) { return n.body.eval(ctx, x, s) })
}

// inOneTransaction runs what it is given within a transaction: the one that is open, or
// one of its own.
func (x *execution) inOneTransaction(ctx context.Context, run func(context.Context) (value, error)) (value, error) {
	if x.inTransaction {
		return run(ctx)
	}
	span := x.trace.begin("start_transaction", "")
	_, err := x.conn.Query(ctx, "BEGIN", nil)
	span.end()
	if err != nil {
		return nil, err
	}
	x.inTransaction = true
	defer func() { x.inTransaction = false }()
	result, err := run(ctx)
	if err != nil {
		if ctx.Err() == nil { // Else the connection is lost to us, and its owner ends it.
			_ = x.end(ctx, "rollback_transaction", "ROLLBACK") // The plan's error says more.
		}
		return nil, err
	}
	return result, x.end(ctx, "commit_transaction", "COMMIT")
}

func (x *execution) end(ctx context.Context, name, sql string) error {
	span := x.trace.begin(name, "")
	defer span.end()
	_, err := x.send(sql, nil, func() (Result, error) { return x.conn.Query(ctx, sql, nil) })
	return err
}
