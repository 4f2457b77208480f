// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package lookup knows the function by which PgBouncer finds the roles of a
// PostgreSQL server and their password hashes: its SQL, and how to tell whether one
// that stands in a database can be used and trusted. It connects to nothing.
//
// PgBouncer believes what the function says: whoever could change it could log in as
// anybody whose server connections wait in the pool. So it is believed only where it
// and its schema belong to a superuser, or to the user of the upstream Secret.
package lookup

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Schema and Function name the function, the same in every database.
const (
	Schema   = "poolfleet"
	Function = "find_user"
)

// Version is that of the function. It stands in the function's body, and is raised
// when a function of before would let in whom it should not, or fail.
const Version = 1

// SQLSTATEs that the text of Install ends with beside the server's own. Source:
// PostgreSQL docs, PL/pgSQL "Reporting Errors and Messages", USING ERRCODE.
const (
	// CodeUnreadable means that who runs it may not read pg_authid.
	CodeUnreadable = "PF001"
	// CodeForeign means that the schema or the function is there and is somebody else's.
	CodeForeign = "PF002"
)

// Query is PgBouncer's auth_query: $1 is the name that a client gives. There is one
// row. For a role that may not log in it holds a secret that no password fits, so that
// PgBouncer refuses the client as it does for a wrong password. The cast leaves no room
// for another function of that name.
func Query() string {
	return "SELECT name, secret FROM " + qualified() + "($1::pg_catalog.text)"
}

// Nobody is a query in its place that finds nobody, for a function that must not be
// believed.
func Nobody() string { return "SELECT '" + nobody + "', '" + noSecret + "' WHERE $1 <> ''" }

// Probe calls the function and returns whether it let itself be called: one value, an
// error otherwise.
func Probe() string {
	return "SELECT pg_catalog.count(*) FROM " + qualified() + "(''::pg_catalog.text)"
}

func qualified() string { return Schema + "." + Function }

// Installation is what a database's function is installed for.
type Installation struct {
	// User is the role that PgBouncer looks others up as (auth_user). It must be there.
	User string
	// Owner is the user of the upstream Secret, the one role beside superusers that the
	// function may belong to.
	Owner string
	// Databases are named in a comment, for who installs it by hand.
	Databases []string
}

// SQL is the text that installs the function in the database where it runs, or
// replaces an older one. It is one transaction, can be run any number of times, and
// takes nothing away from other roles that may call the function. psql runs it, and so
// does one message of the simple query protocol.
//
// It raises CodeUnreadable, CodeForeign, or whatever the server refuses.
func (i Installation) SQL() string {
	return fmt.Sprintf(installation, i.header(), allowed(i.Owner), body(), pgx.Identifier{i.User}.Sanitize())
}

func (i Installation) header() string {
	quoted := make([]string, 0, len(i.Databases))
	for _, name := range i.Databases {
		quoted = append(quoted, strconv.Quote(name))
	}
	return "-- In each of the databases: " + strings.Join(quoted, ", ") + "."
}

// allowed holds for a role r that the function and its schema may belong to.
func allowed(owner string) string {
	return "(r.rolsuper OR r.rolname = " + literal(owner) + ")"
}

// literal quotes a string whatever standard_conforming_strings says, and so that it can
// stand in a dollar-quoted text. Source: PostgreSQL docs, 4.1.2.2 "String Constants
// With C-Style Escapes".
func literal(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, `$`, `\x24`, "\x00", "").Replace(text) + "'"
}

// marker stands in the function's body.
const marker = "poolfleet user lookup, version "

// nobody is the name that stands for whoever may not log in: PostgreSQL lets no role
// be called so.
const nobody = "pg_nobody"

// noSecret is a SCRAM secret that no password fits: its keys are zeros, and nobody
// knows what SHA-256 makes zeros of.
var noSecret = "SCRAM-SHA-256$4096:" + strings.Repeat("A", 22) + "==$" + strings.Repeat("A", 43) + "=:" + strings.Repeat("A", 43) + "="

// body finds a role that may log in through a pool. Refused are superusers and who can
// become one by SET ROLE, roles of replication, roles whose password has expired
// (CVE-2025-2291) or is not a SCRAM secret, the role that looks others up, and names
// that PgBouncer or PostgreSQL keep for themselves. The session's user is PgBouncer's:
// SECURITY DEFINER changes only the current one.
//
// There is always one row, with a secret. Without a row PgBouncer 1.26 lets in, with
// an empty password, who gives a name that it has known before; a null secret it takes
// for the password "md5". Who is refused is nobody, with no secret, so that PgBouncer keeps
// one name, however many are tried.
func body() string {
	return fmt.Sprintf(`
  /* %s%d */
  SELECT coalesce(found.name, '%s'),
    coalesce(found.secret, '%s')
  FROM (VALUES (1)) AS always LEFT JOIN (
    SELECT a.rolname::text AS name, a.rolpassword AS secret
    FROM pg_catalog.pg_authid AS a
    WHERE a.rolname = username
      AND a.rolcanlogin
      AND NOT a.rolreplication
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_authid AS s
                      WHERE s.rolsuper AND pg_has_role(a.oid, s.oid, 'MEMBER'))
      AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > now())
      AND a.rolpassword LIKE 'SCRAM-SHA-256$%%'
      AND a.rolname <> SESSION_USER
      AND a.rolname <> 'pgbouncer'
      AND NOT starts_with(a.rolname, 'pg_')
  ) AS found ON true
`, marker, Version, nobody, noSecret)
}

// installation is filled with the header, the condition on owners, the body and the
// user. The schema's owner is checked once it is there: from then on nobody else can
// make the function. A function's own search_path lists pg_temp last, where it is
// found for nothing that pg_catalog has; unlisted it would come first. Source:
// PostgreSQL docs, CREATE FUNCTION, "Writing SECURITY DEFINER Functions Safely".
const installation = `-- Lets PgBouncer look up the roles of this server and the hashes of their passwords.
-- Run it as a superuser. It may be run again.
%[1]s
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
DO $poolfleet$
BEGIN
  IF NOT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')
     OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER AND %[2]s)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'PF001',
      MESSAGE = 'Run this as a superuser: others may not read pg_authid. Where there is none, as with most managed services, use authentication mode Upstream or Generated.';
  END IF;
END
$poolfleet$;
CREATE SCHEMA IF NOT EXISTS poolfleet;
DO $poolfleet$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace AS n
             JOIN pg_catalog.pg_roles AS r ON r.oid = n.nspowner
             WHERE n.nspname = 'poolfleet' AND NOT %[2]s)
     OR EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
                JOIN pg_catalog.pg_roles AS r ON r.oid = p.proowner
                WHERE n.nspname = 'poolfleet' AND p.proname = 'find_user' AND NOT %[2]s)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'PF002',
      MESSAGE = 'The schema poolfleet, or the function find_user in it, is somebody else''s: see what it is for, and drop it or make it a superuser''s.';
  END IF;
END
$poolfleet$;
CREATE OR REPLACE FUNCTION poolfleet.find_user(username pg_catalog.text)
RETURNS TABLE (name pg_catalog.text, secret pg_catalog.text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $poolfleet$%[3]s$poolfleet$;
REVOKE ALL ON FUNCTION poolfleet.find_user(pg_catalog.text) FROM PUBLIC;
GRANT USAGE ON SCHEMA poolfleet TO %[4]s;
GRANT EXECUTE ON FUNCTION poolfleet.find_user(pg_catalog.text) TO %[4]s;
COMMIT;
`
