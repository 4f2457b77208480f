// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/lookup"
)

// lookupTimeout bounds a visit to one database, the connection included.
const lookupTimeout = 5 * time.Second

// CheckLookup connects to the source's database as the role that looks others up, and
// says how the function there stands that does it (package lookup). Owner is the user
// of the upstream Secret. A call of the function is a part of it. Errors are *Error,
// but for the context's own end.
func (o *Observer) CheckLookup(ctx context.Context, source Source, owner string) (lookup.Finding, error) {
	finding := lookup.Missing
	err := o.visit(ctx, source, func(ctx context.Context, conn *pgconn.PgConn) error {
		answer, err := one(ctx, conn, lookup.FactsQuery(owner))
		if err == nil {
			finding, err = lookup.Read(answer)
		}
		if err != nil || finding != lookup.Usable {
			return err
		}
		_, err = one(ctx, conn, lookup.Probe())
		return err
	})
	return finding, err
}

// InstallLookup installs the function in the source's database as the source's role.
// It returns Usable where it did, Foreign where the function or its schema is somebody
// else's, Unreadable where the role may not read pg_authid or is not fit to own the
// function, and Denied where the server refuses for another reason, such as a missing
// role or privilege. Errors are *Error, but for the context's own end.
func (o *Observer) InstallLookup(ctx context.Context, source Source, installation lookup.Installation) (lookup.Finding, error) {
	finding := lookup.Usable
	err := o.visit(ctx, source, func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := conn.Exec(ctx, installation.SQL()).ReadAll()
		refusal, refused := forbiddenThere(err)
		switch {
		case !refused:
			return err
		case refusal.Code == lookup.CodeForeign:
			finding = lookup.Foreign
		case refusal.Code == lookup.CodeUnreadable:
			finding = lookup.Unreadable
		default:
			finding = lookup.Denied
		}
		return nil
	})
	return finding, err
}

// visit connects, in its turn, and disconnects.
func (o *Observer) visit(ctx context.Context, source Source, do func(context.Context, *pgconn.PgConn) error) error {
	release, err := o.turns.take(ctx, source.Endpoint())
	if err != nil {
		return fmt.Errorf("waiting for another look at %s: %w", source.Endpoint(), err)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	conn, err := o.connect(bounded, source)
	if err != nil {
		return orEnd(ctx, err)
	}
	defer leave(bounded, conn)
	if err := do(bounded, conn); err != nil {
		return orEnd(ctx, explainVisit(source, err))
	}
	return nil
}

// one returns the value of a query that yields one or none.
func one(ctx context.Context, conn *pgconn.PgConn, query string) ([]byte, error) {
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errNoFacts
	}
	return onlyValue(results[0]), nil
}

// explainVisit is for a server that let us in and then did not answer.
func explainVisit(source Source, err error) *Error {
	if refusal, ok := forbiddenThere(err); ok {
		return &Error{Unreachable, "the server at " + source.Endpoint() + " refused to look up users in database " + source.Database +
			" with SQLSTATE " + sqlState(refusal.Code), refusal}
	}
	return explain(source, 0, err)
}
