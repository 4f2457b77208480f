// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	owner         = "owner"
	ownerPassword = "s3cret'of the server"
	template      = "corpus"
)

// A server has the corpus's tables in a database that others are copied from.
type server struct {
	*testenv.PostgresServer

	rows      string
	databases int
}

func aServer(t *testing.T) *server {
	t.Helper()
	s := &server{PostgresServer: testenv.Postgres(t, map[string]string{"max_connections": "100"}), rows: read(t, "sql/rows.sql")}
	s.Exec(t, "create role "+owner+" login password '"+strings.ReplaceAll(ownerPassword, "'", "''")+"'",
		"create database "+template+" owner "+owner)
	conn := s.Connect(t, owner, ownerPassword, template)
	for _, text := range []string{read(t, "sql/tables.sql"), s.rows} {
		if _, err := conn.PgConn().Exec(t.Context(), text).ReadAll(); err != nil {
			t.Fatalf("making the corpus's tables: %v", err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "corpus", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A database holds the corpus's rows for one way of running it.
type database struct {
	name, url   string
	conn        *pgx.Conn
	empty, rows string
	dump        string
}

// database makes one.
func (s *server) database(t *testing.T) *database {
	t.Helper()
	s.databases++
	name := template + strconv.Itoa(s.databases)
	s.Exec(t, "create database "+name+" template "+template+" owner "+owner)
	d := &database{name: name, conn: s.Connect(t, owner, ownerPassword, name), rows: s.rows}
	where := url.URL{
		Scheme: "postgresql", User: url.UserPassword(owner, ownerPassword), Path: "/" + name,
		Host: net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))),
	}
	d.url = where.String()
	tables, err := pgx.CollectRows(must(d.conn.Query(t.Context(),
		`select quote_ident(tablename) from pg_catalog.pg_tables where schemaname = 'public' order by tablename`)), pgx.RowTo[string])
	if err != nil {
		t.Fatalf("listing the corpus's tables: %v", err)
	}
	d.empty = "set lock_timeout = '60s'; truncate " + strings.Join(tables, ", ") + " restart identity;"
	for i, table := range tables {
		tables[i] = "select '" + table + " ' || t::text from " + table + " t"
	}
	d.dump = strings.Join(tables, " union all ")
	return d
}

func must(rows pgx.Rows, _ error) pgx.Rows { return rows } // The rows have the error, too.

// restore makes the rows what every case begins with.
func (d *database) restore(ctx context.Context) error {
	_, err := d.conn.PgConn().Exec(ctx, d.empty+d.rows).ReadAll()
	return err
}

// masks hide what is generated, as lib/normal.js does in results.
var masks = []*regexp.Regexp{
	regexp.MustCompile(`\b20[2-9]\d-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*(\+\d\d)?`),
	regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b`),
	regexp.MustCompile(`\bc[0-9a-z]{24}\b`),
	regexp.MustCompile(`\b[a-z][0-9a-z]{23}\b`),
	regexp.MustCompile(`\b0[0-9A-HJKMNP-TV-Z]{25}\b`),
}

// fixed are the identifiers that the corpus has itself.
var fixed = regexp.MustCompile(`^(0{8}|f{8})-`)

// nanoids are told by where they stand: they look like anything.
var nanoids = regexp.MustCompile(`^(generated \((?:[^,]*,){6})[\w-]{21},[\w-]{8},`)

// contents are all the rows that there are.
func (d *database) contents(ctx context.Context) (string, error) {
	rows, err := pgx.CollectRows(must(d.conn.Query(ctx, d.dump)), pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	for i, row := range rows {
		row = nanoids.ReplaceAllString(row, "$1<nanoid>,<nanoid>,")
		for _, mask := range masks {
			row = mask.ReplaceAllStringFunc(row, func(text string) string {
				if fixed.MatchString(text) {
					return text
				}
				return "<new>"
			})
		}
		rows[i] = row
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n"), nil
}
