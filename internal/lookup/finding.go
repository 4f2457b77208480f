// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Finding is what is to be said of the function in one database.
type Finding string

const (
	// Usable means that the role can call the function, and may believe it.
	Usable Finding = "Usable"
	// Missing means that there is no such function.
	Missing Finding = "Missing"
	// Outdated means that the function is of an older version, or not as Install makes it.
	Outdated Finding = "Outdated"
	// Denied means that the role may not call the function.
	Denied Finding = "Denied"
	// Foreign means that the function or its schema is somebody's who must not have it.
	Foreign Finding = "Foreign"
	// Unreadable means that the function's owner may not read pg_authid.
	Unreadable Finding = "Unreadable"
)

// Mends reports whether running Installation.SQL again helps.
func (f Finding) Mends() bool { return f == Missing || f == Outdated || f == Denied }

// FactsQuery asks, as the role that looks others up, for what Read decides by: one
// JSON object, or no row where neither schema nor function is there. The owner is
// Installation.Owner.
func FactsQuery(owner string) string {
	return fmt.Sprintf(factsQuery, allowed(owner))
}

// factsQuery reads catalogs that every role may read. A function of the right
// arguments is what the cast in Query leads to.
const factsQuery = `SELECT pg_catalog.json_build_object(
  'owned', (SELECT %[1]s FROM pg_catalog.pg_roles AS r WHERE r.oid = n.nspowner)
       AND coalesce((SELECT %[1]s FROM pg_catalog.pg_roles AS r WHERE r.oid = p.proowner), true),
  'there', p.oid IS NOT NULL,
  'version', pg_catalog.substring(p.prosrc, '` + marker + `([0-9]{1,9}) '),
  'sealed', p.prosecdef AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
       AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE'),
  'callable', pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'),
  'readable', pg_catalog.has_table_privilege(p.proowner, 'pg_catalog.pg_authid', 'SELECT'))
FROM pg_catalog.pg_namespace AS n
LEFT JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid AND p.proname = '` + Function + `'
  AND p.pronargs = 1 AND p.proargtypes[0] = 'pg_catalog.text'::pg_catalog.regtype
WHERE n.nspname = '` + Schema + `'`

// Read decides by the answer to FactsQuery; nil is no row.
func Read(answer []byte) (Finding, error) {
	if answer == nil {
		return Missing, nil
	}
	var facts struct {
		Owned, There, Sealed, Callable, Readable bool
		Version                                  string
	}
	if err := json.Unmarshal(answer, &facts); err != nil {
		return "", fmt.Errorf("reading what is known of the function: %w", err)
	}
	version, _ := strconv.Atoi(facts.Version) // One without a version is older than all.
	switch {
	case !facts.Owned:
		return Foreign, nil
	case !facts.There:
		return Missing, nil
	case version < Version || !facts.Sealed:
		return Outdated, nil
	case !facts.Readable:
		return Unreadable, nil
	case !facts.Callable:
		return Denied, nil
	}
	return Usable, nil
}

// Words say what is wrong in a database and why, without a full stop. They are for
// whoever can read the pool's status.
func (f Finding) Words(database, user, owner string) string {
	name := strings.Join([]string{Schema, Function}, ".")
	switch f {
	case Missing:
		return fmt.Sprintf("database %q has no function %s, which looks up users", database, name)
	case Outdated:
		return fmt.Sprintf("the function %s in database %q is out of date, or open to others than it should be", name, database)
	case Denied:
		return fmt.Sprintf("role %q may not call the function %s in database %q", user, name, database)
	case Foreign:
		return fmt.Sprintf("the schema %s or the function %s in database %q is neither a superuser's nor role %q's, so it can not be believed: "+
			"see what it is for, and drop it or make it a superuser's", Schema, name, database, owner)
	case Unreadable:
		return fmt.Sprintf("the owner of the function %s in database %q may not read pg_authid: make it a superuser's", name, database)
	case Usable:
	}
	return ""
}
