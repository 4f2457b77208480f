// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

// LookupObserver looks at the function by which users are looked up (package lookup).
type LookupObserver interface {
	// CheckLookup says how the function of the source's database is to the source's role.
	CheckLookup(ctx context.Context, source postgres.Source, owner string) (lookup.Finding, error)
	// InstallLookup installs it as the source's role.
	InstallLookup(ctx context.Context, source postgres.Source, installation lookup.Installation) (lookup.Finding, error)
}

// lookupRecord is what the last look at a pool's lookup came to.
type lookupRecord struct {
	// source digests what it depended on, seen is the look at the server that it went
	// with, and at is when it was.
	source [32]byte
	seen   time.Time
	at     time.Time
	// problem is why users can not be looked up; nil where they can.
	problem *status.Blocked
	// lacking are the databases where running the SQL helps, foreign whether the
	// function in one of them can not be believed.
	lacking []string
	foreign bool
}

// userLookup is what a pass knows of how users are looked up.
type userLookup struct {
	// user and password look the others up; empty without a Secret that holds them.
	user, password string
	record         lookupRecord
	// kept is why the poolers look users up as before and not as the spec asks.
	kept *status.Blocked
}

// seeLookup finds out whether users can be looked up, with each look at the server, and
// at short intervals while they can not.
func (r *ConnectionPoolReconciler) seeLookup(ctx context.Context, p *pass) error {
	if !lookedUp(p.pool) {
		return nil
	}
	// Every role of the server may be a client: neither limit nor number of one counts.
	p.record.Observation.RoleOID, p.record.Observation.RoleLimit = 0, nil
	problem, err := r.readLookupUser(ctx, p)
	if err != nil {
		return err
	}
	source, err := lookupDigest(p)
	if err != nil {
		return err
	}
	if before := p.record.lookup; r.lookupDue(before, source, p.record) {
		now := lookupRecord{source: source, seen: p.record.SeenAt, at: r.Clock.Now(), problem: problem}
		if problem == nil {
			r.lookUpEverywhere(ctx, p, before, &now)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("looking at how users are looked up: %w", err)
		}
		p.record.lookup = now
		r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
	}
	p.lookup.record = p.record.lookup
	return nil
}

// readLookupUser reads who looks the others up: the user of the Secret that the spec
// names, else the upstream Secret's.
func (r *ConnectionPoolReconciler) readLookupUser(ctx context.Context, p *pass) (*status.Blocked, error) {
	p.lookup.user, p.lookup.password = p.source.User, p.source.Password
	name := p.pool.Spec.Authentication.Query.SecretRef.Name
	if name != "" {
		data, err := r.readSecret(ctx, p.pool, name, "create it with the user and the password of the role that looks users up, or correct spec.authentication.query.secretRef")
		if blocked := status.AsBlocked(err); blocked != nil {
			return lookupProblem("%s", blocked.Message), nil
		}
		if err != nil {
			return nil, err
		}
		p.lookup.user = cmp.Or(secretText(data["user"]), secretText(data["username"]))
		p.lookup.password = secretText(data["password"])
	}
	if p.lookup.user == "" || p.lookup.password == "" {
		return lookupProblem("Secret %s holds no user or no password, and users are looked up with them: put them under user and password",
			cmp.Or(name, p.pool.Spec.Upstream.SecretRef.Name)), nil
	}
	return nil, nil //nolint:nilnil // There is no problem, and no error.
}

// secretText is a value without the newline that echo leaves at its end.
func secretText(value []byte) string { return strings.TrimRight(string(value), "\r\n") }

func lookupProblem(format string, args ...any) *status.Blocked {
	return status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonLookupMissing, format, args...)
}

// lookupDigest names what a look depends on.
func lookupDigest(p *pass) ([32]byte, error) {
	data, err := json.Marshal(struct { //nolint:gosec // It is digested and forgotten.
		Server         [32]byte
		User, Password string
		Install        poolv1.InstallPolicy
		Databases      []string
	}{p.record.Source, p.lookup.user, p.lookup.password, p.pool.Spec.Authentication.Query.Install, lookupDatabases(p)})
	if err != nil {
		return [32]byte{}, fmt.Errorf("digesting how users are looked up: %w", err)
	}
	return sha256.Sum256(data), nil
}

// lookupDatabases are the databases of the server that users are looked up in.
func lookupDatabases(p *pass) (names []string) {
	for _, db := range databasesOf(p) {
		names = append(names, db.Database)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *ConnectionPoolReconciler) lookupDue(last lookupRecord, source [32]byte, server Record) bool {
	return last.source != source || !server.SeenAt.Equal(last.seen) ||
		last.problem != nil && r.Clock.Since(last.at) >= retryInterval
}

// lookUpEverywhere looks at every database. A server that does not answer now tells
// nothing of the function: what was known of it still holds.
func (r *ConnectionPoolReconciler) lookUpEverywhere(ctx context.Context, p *pass, before lookupRecord, now *lookupRecord) {
	var words []string
	for _, database := range lookupDatabases(p) {
		finding, why, err := r.lookUpIn(ctx, p, database)
		switch {
		case err != nil && before.source == now.source && before.problem == nil && passing(err):
			return
		case err != nil:
			now.problem = lookupProblem("Role %q, which looks users up, can not log in to database %q: %s", p.lookup.user, database, lookupWords(err))
			return
		case finding == lookup.Usable:
			continue
		case finding.Mends():
			now.lacking = append(now.lacking, database)
		case finding == lookup.Foreign:
			now.foreign = true
		}
		words = append(words, why)
	}
	if len(words) == 0 {
		return
	}
	more := ""
	if len(words) > 1 {
		more = fmt.Sprintf(" (and in %d more)", len(words)-1)
	}
	now.problem = lookupProblem("%s%s%s", sentence(words[0]), more, remedy(p.pool, *now))
}

// remedy is what to do where running the SQL helps.
func remedy(pool *poolv1.ConnectionPool, now lookupRecord) string {
	if len(now.lacking) == 0 {
		return ""
	}
	return fmt.Sprintf(": let a superuser run what stands in the status, in each database of status.lookup.databases: "+
		"kubectl get connectionpools.poolfleet.dev -n %s %s -o 'jsonpath={.status.lookup.sql}' | psql", pool.Namespace, pool.Name)
}

// passing reports whether an error is about the moment and not about the role.
func passing(err error) bool {
	e, ok := errors.AsType[*postgres.Error](err)
	return ok && slices.Contains([]postgres.Reason{postgres.Unreachable, postgres.HostUnknown, postgres.Full, postgres.RoleFull, postgres.DatabaseFull}, e.Reason)
}

func lookupWords(err error) string {
	e, ok := errors.AsType[*postgres.Error](err)
	switch {
	case !ok:
		return "the look did not succeed"
	case e.Reason == postgres.AuthenticationFailed:
		return "the server refused the user or the password: make the role (CREATE ROLE ... LOGIN, and its password), or correct the Secret"
	}
	return e.Message
}

// lookUpIn looks at one database, and installs the function where that is asked for and
// helps. Why says what is wrong.
func (r *ConnectionPoolReconciler) lookUpIn(ctx context.Context, p *pass, database string) (finding lookup.Finding, why string, err error) {
	seer, owner := p.source, p.source
	seer.User, seer.Password, seer.Database, owner.Database = p.lookup.user, p.lookup.password, database, database
	finding, err = r.Lookups.CheckLookup(ctx, seer, owner.User)
	why = finding.Words(database, seer.User, owner.User)
	if err != nil || !finding.Mends() || p.pool.Spec.Authentication.Query.Install != poolv1.InstallIfMissing {
		return finding, why, err
	}
	installed, err := r.Lookups.InstallLookup(ctx, owner, installationOf(p))
	switch {
	case err != nil:
		return finding, "", err
	case installed == lookup.Unreadable:
		return finding, fmt.Sprintf("%s, and the server does not let user %q of the upstream Secret read pg_authid (managed services let nobody): "+
			"use authentication.mode Upstream or Generated, or install it another way", why, owner.User), nil
	case installed == lookup.Denied:
		return finding, fmt.Sprintf("%s, and user %q of the upstream Secret may not make it: GRANT CREATE ON DATABASE to that user, or install it another way",
			why, owner.User), nil
	case installed != lookup.Usable:
		return installed, installed.Words(database, seer.User, owner.User), nil
	}
	finding, err = r.Lookups.CheckLookup(ctx, seer, owner.User)
	return finding, finding.Words(database, seer.User, owner.User), err
}

func installationOf(p *pass) lookup.Installation {
	return lookup.Installation{User: p.lookup.user, Owner: p.source.User, Databases: lookupDatabases(p)}
}

// lookUp has the poolers look users up. While that can not be done as the spec asks
// they go on as before, if they did before; a function that can not be believed is
// asked no more.
func lookUp(p *pass, inForce pgbouncer.Lookup, config *pgbouncer.Config) error {
	if !lookedUp(p.pool) {
		return nil
	}
	config.Server.User, config.Server.Password = "", ""
	config.Lookup = pgbouncer.Lookup{User: p.lookup.user, Password: p.lookup.password, Query: lookup.Query()}
	problem := p.lookup.record.problem
	switch {
	case problem == nil:
		return nil
	case inForce == pgbouncer.Lookup{}:
		return problem
	}
	config.Lookup, p.lookup.kept = inForce, problem
	if p.lookup.record.foreign {
		config.Lookup.Query = lookup.Nobody()
		p.lookup.kept = lookupProblem("%s; until then no user is let in", problem.Message)
	}
	return nil
}

// anonymous keeps users out of what is published where every application has its own.
func anonymous(p *pass, in publish.Inputs) publish.Inputs {
	if lookedUp(p.pool) {
		in.Login, in.Direct, in.DirectWithoutPassword = publish.Login{}, p.source.AnonymousURL(), p.source.AnonymousURL()
	}
	return in
}

// missingLookup is what the status shows an administrator; what it shows already where
// the pass did not come so far.
func missingLookup(p *pass, shown poolv1.MissingLookup) poolv1.MissingLookup {
	switch record := p.lookup.record; {
	case lookedUp(p.pool) && record.at.IsZero():
		return shown
	case lookedUp(p.pool) && len(record.lacking) > 0:
		return poolv1.MissingLookup{Databases: record.lacking, SQL: installationOf(p).SQL()}
	}
	return poolv1.MissingLookup{}
}
