// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// session runs statements on one connection, and keeps what it was asked.
type session struct {
	conn *pgconn.PgConn
	sent []string
}

func (s *session) Query(ctx context.Context, sql string, parameters [][]byte) (Result, error) {
	s.sent = append(s.sent, sql)
	reader := s.conn.ExecParams(ctx, sql, parameters, nil, nil, nil)
	var result Result
	for reader.NextRow() {
		row := make([][]byte, len(reader.Values()))
		for i, field := range reader.Values() {
			row[i] = bytes.Clone(field)
		}
		result.Rows = append(result.Rows, row)
	}
	for _, field := range reader.FieldDescriptions() {
		result.Fields = append(result.Fields, Field{Name: field.Name, OID: field.DataTypeOID})
	}
	tag, err := reader.Close()
	result.RowsAffected = tag.RowsAffected()
	return result, err
}

// database is a PostgreSQL with the tables of testdata.
type database struct {
	*session
	rows string
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	server := testenv.Postgres(t, map[string]string{"timezone": "UTC"})
	conn, err := pgx.ConnectConfig(t.Context(), server.Config(testenv.SuperuserName, testenv.SuperuserPassword, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	made := &database{session: &session{conn: conn.PgConn()}, rows: read(t, "testdata/rows.sql")}
	made.exec(t, read(t, "testdata/tables.sql"))
	return made
}

// reset gives the tables the rows that every case begins with.
func (d *database) reset(t *testing.T) {
	t.Helper()
	d.exec(t, `do $$ begin execute (select 'truncate ' || string_agg(quote_ident(tablename), ',') || ' restart identity cascade'
		from pg_tables where schemaname = 'public'); end $$`)
	d.exec(t, d.rows)
	d.sent = nil
}

func (d *database) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := d.conn.Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replies is a Conn that gives what it is made of, one after the other.
type replies struct {
	results []Result
	errs    map[string]error // By statement.
	sent    []string
	params  [][][]byte
}

func (r *replies) Query(_ context.Context, sql string, parameters [][]byte) (Result, error) {
	r.sent, r.params = append(r.sent, sql), append(r.params, parameters)
	if err := r.errs[sql]; err != nil || len(r.results) == 0 {
		return Result{}, err
	}
	next := r.results[0]
	if len(r.results) > 1 {
		r.results = r.results[1:]
	}
	return next, nil
}

// newestVersion is that of the plans that tests write themselves.
var newestVersion = Version{Major: 7, Minor: 10}

func decodeBody(t *testing.T, body string) *Request {
	t.Helper()
	request, err := Decode([]byte(body), newestVersion, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// runPlan runs a plan with its parameters, both JSON, over a Conn.
func runPlan(t *testing.T, conn Conn, plan, params string) (string, error) {
	t.Helper()
	data, err := decodeBody(t, `{"operation":"findMany","plan":`+plan+`,"params":`+params+`}`).Run(t.Context(), conn, false, nil)
	return string(data), err
}
