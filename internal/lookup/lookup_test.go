// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/lookup"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// seer looks others up, upstream is the upstream Secret's user, alice an ordinary role.
const (
	seer, upstream, alice = "seer", "upstream", "alice"
	password              = "lookup-of-a-test"
)

func installation() lookup.Installation {
	return lookup.Installation{User: seer, Owner: upstream, Databases: []string{"postgres"}}
}

// shop is a database of a server, each test's own.
type shop struct {
	*testenv.PostgresServer
	database string
}

// aServer has the roles above.
func aServer(t *testing.T, version int) *testenv.PostgresServer {
	t.Helper()
	server := testenv.Postgres(t, nil, testenv.Version(version))
	for _, role := range []string{seer, upstream, alice} {
		server.Exec(t, "create role "+role+" login password '"+password+"'")
	}
	return server
}

// aShop makes a database with the function.
func aShop(t *testing.T, server *testenv.PostgresServer, name string) shop {
	t.Helper()
	server.Exec(t, "create database "+name)
	s := shop{server, name}
	s.run(t, installation().SQL())
	return s
}

// visit is a test and its database.
type visit struct {
	t *testing.T
	shop
}

// as connects as a role.
func (s shop) as(t *testing.T, role string) *pgx.Conn {
	t.Helper()
	if role == testenv.SuperuserName {
		return s.Connect(t, role, testenv.SuperuserPassword, s.database)
	}
	return s.Connect(t, role, password, s.database)
}

// run runs statements as the superuser.
func (s shop) run(t *testing.T, statements ...string) {
	t.Helper()
	conn := s.as(t, testenv.SuperuserName)
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatalf("running %q: %v", statement, err)
		}
	}
	_ = conn.Close(t.Context())
}

// ask returns the one value of a query that the superuser asks.
func (s shop) ask(t *testing.T, query string) (answer string) {
	t.Helper()
	conn := s.as(t, testenv.SuperuserName)
	if err := conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
		t.Fatalf("asking %q: %v", query, err)
	}
	_ = conn.Close(t.Context())
	return answer
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := map[string]func(visit){
		"only roles that may use a pool are found":               onlyRolesOfPools,
		"what others make changes nothing":                       whatOthersMake,
		"only the lookup role may call the function":             onlyTheLookupRole,
		"what stands in a database is judged":                    judged,
		"installing goes by who runs it and who was there":       installing,
		"installing takes nothing from the role of another pool": takesNothing,
	}
	for _, version := range testenv.Versions(t) {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			t.Parallel()
			server := aServer(t, version)
			for i, name := range slices.Sorted(maps.Keys(tests)) {
				t.Run(name, func(t *testing.T) { tests[name](visit{t, aShop(t, server, fmt.Sprintf("shop%d", i))}) })
			}
		})
	}
}

// scramSecret is one as PostgreSQL stores it.
var scramSecret = regexp.MustCompile(`^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$`)

// found is what PgBouncer would read for a name: its secret, and whether it is the
// name's own. Whatever the name, there is one row with a secret.
func found(t *testing.T, conn *pgx.Conn, name string) (secret string, ok bool) {
	t.Helper()
	rows, err := conn.Query(t.Context(), lookup.Query(), name)
	if err != nil {
		t.Fatalf("looking %q up: %v", name, err)
	}
	type row struct{ Name, Secret string }
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatalf("looking %q up: %v", name, err)
	}
	if !scramSecret.MatchString(got.Secret) {
		t.Errorf("the secret of %q is none", name)
	}
	if got.Name != name && got.Name != "pg_nobody" {
		t.Errorf("looking %q up found %q", name, got.Name)
	}
	return got.Secret, got.Name == name && name != "pg_nobody"
}

// state is what the role finds of the function.
func state(t *testing.T, conn *pgx.Conn) lookup.Finding {
	t.Helper()
	var answer []byte
	err := conn.QueryRow(t.Context(), lookup.FactsQuery(upstream)).Scan(&answer)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("asking for the function: %v", err)
	}
	finding, err := lookup.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return finding
}

// refused returns the SQLSTATE that statements end with.
func refused(t *testing.T, conn *pgx.Conn, statements string) string {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), statements).ReadAll()
	if err != nil {
		_, _ = conn.Exec(t.Context(), "rollback")
	}
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return refusal.Code
}

func onlyRolesOfPools(on visit) {
	t, s := on.t, on.shop
	with := " password '" + password + "'"
	s.run(t,
		`create role "Ünï; drop'role--" login`+with, "create role later login valid until '2999-01-01'"+with,
		"create role forever login valid until 'infinity'"+with, "create role grouped login"+with,
		"create role team nologin", "grant team to grouped",
		"create role past login valid until '2001-01-01'"+with, "create role never login valid until '-infinity'"+with,
		"create role super login superuser"+with, "create role deputy login"+with, "grant super to deputy",
		"create role chief nologin", "grant deputy to chief", "create role second login in role chief"+with,
		"create role walker login replication"+with, "create role locked nologin"+with, "create role bare login",
		"create role empty login password ''", "create role pgbouncer login"+with,
		"set password_encryption = 'md5'", "create role old login"+with, "reset password_encryption")
	conn := s.as(t, seer)
	for _, name := range []string{alice, upstream, "later", "forever", "grouped", `Ünï; drop'role--`} {
		want := s.ask(t, "select rolpassword from pg_authid where rolname = '"+strings.ReplaceAll(name, "'", "''")+"'")
		if secret, _ := found(t, conn, name); secret != want || !strings.HasPrefix(secret, "SCRAM-SHA-256$") {
			t.Errorf("%s is found with another secret than its own", name)
		}
	}
	for _, name := range []string{
		"past", "never", "super", "deputy", "second", testenv.SuperuserName, "walker", "locked", "team", "bare", "empty", "old",
		"pgbouncer", seer, "nobody", "ALICE", "ali%", "", "pg_monitor", "pg_nobody", "alice' or 'a'='a", strings.Repeat("a", 1000),
	} {
		if _, ok := found(t, conn, name); ok {
			t.Errorf("%q is found", name)
		}
	}
}

func whatOthersMake(on visit) {
	t, s := on.t, on.shop
	s.run(t, "grant create on schema public to public", "grant temporary, create on database "+s.database+" to public",
		"grant create on schema poolfleet to alice", "create role gone login valid until '2001-01-01' password '"+password+"'",
		// As an older database may have it.
		"alter role seer in database "+s.database+" set search_path = public, pg_temp, pg_catalog",
		"alter role seer in database "+s.database+" set standard_conforming_strings = off",
		"set role alice", `
		create table public.pg_authid as select 'gone'::name rolname, 'SCRAM-SHA-256$forged' rolpassword, true rolcanlogin, false rolsuper, false rolreplication, null::timestamptz rolvaliduntil, 1::oid oid;
		grant select on public.pg_authid to public;
		create function public.now() returns timestamptz language sql as $$select '2000-01-01'::timestamptz$$;
		create function public.pg_has_role(oid, oid, text) returns bool language sql as $$select false$$;
		create function public.yes(name, text) returns bool language sql as $$select true$$;
		create function public.yes(name, name) returns bool language sql as $$select true$$;
		create operator public.= (leftarg = name, rightarg = text, function = public.yes);
		create operator public.<> (leftarg = name, rightarg = name, function = public.yes);
		create function public.find_user(text) returns table (name text, secret text) language sql as $$select $1, 'SCRAM-SHA-256$forged'$$;
		create function poolfleet.find_user(unknown_ varchar) returns table (name text, secret text) language sql as $$select $1::text, 'SCRAM-SHA-256$forged'$$;
		create function poolfleet.find_user(variadic text[]) returns table (name text, secret text) language sql as $$select 'gone', 'SCRAM-SHA-256$forged'$$;
		create function poolfleet.find_user(name) returns table (name text, secret text) language sql as $$select $1::text, 'SCRAM-SHA-256$forged'$$`,
		"reset role")
	conn := s.as(t, seer)
	// What a client could do over a server connection that is then used to look others up.
	_, err := conn.PgConn().Exec(t.Context(), `
		create temp table pg_authid as select * from public.pg_authid;
		create type pg_temp.text as (a int);
		set search_path = pg_temp, public, pg_catalog`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gone", "anybody"} {
		if _, ok := found(t, conn, name); ok {
			t.Errorf("%q is found", name)
		}
	}
	if secret, ok := found(t, conn, alice); !ok || strings.Contains(secret, "forged") {
		t.Error("an ordinary role is not found, or with a secret that another role made up")
	}
	if got := state(t, s.as(t, seer)); got != lookup.Usable {
		t.Errorf("the function is said to be %s", got)
	}
}

func onlyTheLookupRole(on visit) {
	t, s := on.t, on.shop
	stranger := s.as(t, alice)
	for _, query := range []string{lookup.Probe(), "select rolpassword from pg_catalog.pg_authid"} {
		if code := refused(t, stranger, query); code != "42501" {
			t.Errorf("%s as another role ends with %q, want 42501", query, code)
		}
	}
	s.run(t, "grant usage on schema poolfleet to alice")
	if code := refused(t, stranger, lookup.Probe()); code != "42501" {
		t.Errorf("calling the function as another role ends with %q, want 42501", code)
	}
	conn := s.as(t, seer)
	if code := refused(t, conn, lookup.Probe()); code != "" {
		t.Errorf("calling the function as the role that is to ends with %s", code)
	}
	if code := refused(t, conn, "select rolpassword from pg_catalog.pg_authid"); code != "42501" {
		t.Errorf("reading pg_authid as the role that looks others up ends with %q, want 42501", code)
	}
}

func judged(on visit) {
	t, s := on.t, on.shop
	s.run(t, "drop schema poolfleet cascade", "grant create on database "+s.database+" to alice")
	conn, super := s.as(t, seer), s.as(t, testenv.SuperuserName)
	const function = "function poolfleet.find_user(text)"
	steps := []struct {
		do   string
		want lookup.Finding
	}{
		{"select", lookup.Missing},
		{"create schema poolfleet", lookup.Missing},
		{installation().SQL(), lookup.Usable},
		{"revoke execute on " + function + " from seer", lookup.Denied},
		{installation().SQL(), lookup.Usable},
		{"revoke usage on schema poolfleet from seer", lookup.Denied},
		{installation().SQL(), lookup.Usable},
		{"grant execute on " + function + " to public", lookup.Outdated},
		{installation().SQL(), lookup.Usable},
		{"alter " + function + " reset search_path", lookup.Outdated},
		{"alter " + function + " set search_path = public", lookup.Outdated},
		{installation().SQL(), lookup.Usable},
		{"alter " + function + " security invoker", lookup.Outdated},
		{installation().SQL(), lookup.Usable},
		{strings.Replace(installation().SQL(), fmt.Sprintf("version %d ", lookup.Version), "version 0 ", 1), lookup.Outdated},
		{installation().SQL(), lookup.Usable},
		{strings.Replace(installation().SQL(), fmt.Sprintf("version %d ", lookup.Version), "version 999999999 ", 1), lookup.Usable},
		{"alter " + function + " owner to alice", lookup.Foreign},
		{"alter " + function + " owner to upstream", lookup.Unreadable},
		{"grant select on pg_catalog.pg_authid to upstream", lookup.Usable},
		{"alter schema poolfleet owner to alice", lookup.Foreign},
		{"drop schema poolfleet cascade; set role alice; create schema poolfleet; reset role", lookup.Foreign},
	}
	for _, step := range steps {
		if code := refused(t, super, step.do); code != "" {
			t.Fatalf("%q: %s", step.do, code)
		}
		if got := state(t, conn); got != step.want {
			t.Errorf("after %.60q: the function is said to be %s, want %s", step.do, got, step.want)
		}
	}
}

func installing(on visit) {
	t, s := on.t, on.shop
	sql := installation().SQL()
	super, owner := s.as(t, testenv.SuperuserName), s.as(t, upstream)
	run := func(conn *pgx.Conn, want string) {
		t.Helper()
		if code := refused(t, conn, sql); code != want {
			t.Errorf("installing ends with %q, want %q", code, want)
		}
	}
	run(super, "") // Once more.
	run(s.as(t, alice), lookup.CodeUnreadable)
	run(owner, lookup.CodeUnreadable)

	s.run(t, "drop schema poolfleet cascade", "grant select on pg_catalog.pg_authid to upstream, alice")
	run(s.as(t, alice), lookup.CodeUnreadable) // Not one to believe.
	run(owner, "42501")
	if exists := s.ask(t, "select count(*) from pg_namespace where nspname = 'poolfleet'"); exists != "0" {
		t.Error("an installation that was refused left a schema behind")
	}
	s.run(t, "grant create on database "+s.database+" to upstream, alice")
	run(owner, "")
	run(owner, "")
	run(super, "")
	if got := state(t, s.as(t, seer)); got != lookup.Usable {
		t.Errorf("the function of the upstream Secret's user is said to be %s", got)
	}

	s.run(t, "drop schema poolfleet cascade", "set role alice", "create schema poolfleet", "reset role")
	run(super, lookup.CodeForeign)
	run(owner, lookup.CodeForeign)
	s.run(t, "alter schema poolfleet owner to postgres", "grant create on schema poolfleet to alice", "set role alice",
		"create function poolfleet.find_user(text) returns table (name text, secret text) language sql as $$select $1, 'SCRAM-SHA-256$forged'$$", "reset role")
	run(super, lookup.CodeForeign)
	if owners := s.ask(t, "select proowner::regrole from pg_proc where proname = 'find_user'"); owners != alice {
		t.Errorf("somebody else's function now belongs to %s", owners)
	}
}

func takesNothing(on visit) {
	t, s := on.t, on.shop
	s.run(t, lookup.Installation{User: alice, Owner: upstream}.SQL())
	for _, role := range []string{seer, alice} {
		if got := state(t, s.as(t, role)); got != lookup.Usable {
			t.Errorf("to %s the function is %s", role, got)
		}
	}
}

func TestNamesAreNeverReadAsSQL(t *testing.T) {
	t.Parallel()
	server := aServer(t, 0)
	odd := []string{
		`a"; drop table canary; --`, `a'; drop table canary; --`, `a\'; drop table canary; --`, "a\n; drop table canary; --",
		`$poolfleet$; drop table canary; --`, "%[1]s %d", "ünï", "select",
	}
	server.Exec(t, "create table canary (x int)", "alter role postgres set standard_conforming_strings = off", "alter role postgres set backslash_quote = on")
	for _, name := range odd {
		server.Exec(t, "create role "+pgx.Identifier{name}.Sanitize()+" login password '"+password+"'")
		install := lookup.Installation{User: name, Owner: name, Databases: []string{name}}.SQL()
		if code := refused(t, server.Superuser(t), install); code != "" {
			t.Errorf("installing for %q ends with %s", name, code)
		}
		conn := server.Connect(t, name, password, "postgres")
		if code := refused(t, conn, lookup.FactsQuery(name)); code != "" {
			t.Errorf("asking for what there is as %q ends with %s", name, code)
		}
		if _, ok := found(t, conn, alice); !ok {
			t.Errorf("%q can not look others up", name)
		}
	}
	if got := server.Ask(t, "select count(*) from pg_class where relname = 'canary'"); got != "1" {
		t.Error("a name was run as SQL")
	}
}

func TestTheDocumentedSQLIsTheOneThatIsInstalled(t *testing.T) {
	page, err := os.ReadFile("../../docs/lookup.md")
	if err != nil {
		t.Fatal(err)
	}
	if sql := (lookup.Installation{User: "pool_lookup", Owner: "shop", Databases: []string{"shop"}}).SQL(); !strings.Contains(string(page), "\n```sql\n"+sql+"```\n") {
		t.Errorf("docs/lookup.md has other SQL than:\n%s", sql)
	}
}

func TestReadTellsWhatItCanNotRead(t *testing.T) {
	if _, err := lookup.Read([]byte("no JSON")); err == nil {
		t.Error("nonsense was read")
	}
	finding, err := lookup.Read(nil)
	if diff := cmp.Diff(lookup.Missing, finding); diff != "" || err != nil {
		t.Errorf("no row: %v %s", err, diff)
	}
}

func TestWordsSayWhereAndWhat(t *testing.T) {
	for _, finding := range []lookup.Finding{lookup.Missing, lookup.Outdated, lookup.Denied, lookup.Foreign, lookup.Unreadable} {
		words := finding.Words("shop", seer, upstream)
		if !strings.Contains(words, `"shop"`) || strings.HasSuffix(words, ".") {
			t.Errorf("%s: %s", finding, words)
		}
	}
}
