// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestServersErrorsHaveThePrismaCodesOfTheClientsVersion(t *testing.T) {
	unique := pgconn.PgError{Code: "23505", Message: "m", Detail: "Key (a, b)=(1, 2) already exists.", ConstraintName: "t_a_b_key", TableName: "t"}
	column := pgconn.PgError{Code: "42703", Message: `column "a""b"."c" does not exist`}
	for name, test := range map[string]struct {
		err     pgconn.PgError
		version string
		status  int
		code    string
		message string
	}{
		"too long":               {pgconn.PgError{Code: "22001", Message: "m"}, "7.10.0", 400, "P2000", "The provided value for the column is too long for the column's type. Column: (not available)"},
		"unique":                 {unique, "7.10.0", 400, "P2002", "Unique constraint failed on the constraint: `t_a_b_key`"},
		"unique up to 7.9":       {unique, "7.9.1", 400, "P2002", "Unique constraint failed on the fields: (`a`, `b`)"},
		"foreign key":            {pgconn.PgError{Code: "23503", ConstraintName: "c"}, "6.19.0", 400, "P2003", "Foreign key constraint violated on the constraint: `c`"},
		"restricted":             {pgconn.PgError{Code: "23001", ConstraintName: "c"}, "7.10.0", 400, "P2003", "Foreign key constraint violated on the constraint: `c`"},
		"restricted in 7.9":      {pgconn.PgError{Code: "23001", Message: "m"}, "7.9.0", 400, "P2039", "Database error. Code: `23001`. Message: `m`"},
		"restricted before":      {pgconn.PgError{Code: "23001", Message: "m"}, "7.8.0", 500, "", "m"},
		"null":                   {pgconn.PgError{Code: "23502", ColumnName: "c"}, "7.10.0", 400, "P2011", "Null constraint violation on the (not available)"},
		"input":                  {pgconn.PgError{Code: "22P02", Message: "m"}, "7.2.0", 400, "P2007", "Invalid input value: m"},
		"input before":           {pgconn.PgError{Code: "22P02", Message: "m"}, "7.1.0", 500, "", "m"},
		"range":                  {pgconn.PgError{Code: "22003", Message: "m"}, "7.10.0", 400, "P2020", "Value out of range for the type: m"},
		"table":                  {pgconn.PgError{Code: "42P01", Message: `relation "public.x" does not exist`}, "7.10.0", 400, "P2021", "The table `public.x` does not exist in the current database."},
		"column":                 {column, "7.6.0", 400, "P2022", "The column `a\"b.c` does not exist in the current database."},
		"column before":          {pgconn.PgError{Code: "42703", Message: `column "c" does not exist`}, "7.5.0", 400, "P2022", "The column `c` does not exist in the current database."},
		"conflict":               {pgconn.PgError{Code: "40001"}, "6.16.0", 400, "P2034", "Transaction failed due to a write conflict or a deadlock. Please retry your transaction"},
		"deadlock":               {pgconn.PgError{Code: "40P01"}, "7.10.0", 400, "P2034", "Transaction failed due to a write conflict or a deadlock. Please retry your transaction"},
		"too many connections":   {pgconn.PgError{Code: "53300", Message: "m"}, "7.10.0", 400, "P2037", "Too many database connections opened: m"},
		"no password":            {pgconn.PgError{Code: "28P01", Message: `password authentication failed for user "ada"`}, "7.10.0", 400, "P1000", "Authentication failed against the database server, the provided database credentials for `ada` are not valid"},
		"no database":            {pgconn.PgError{Code: "3D000", Message: `database "x" does not exist`}, "7.10.0", 400, "P1003", "Database `x` does not exist on the database server"},
		"any other":              {pgconn.PgError{Code: "23514", Message: "m"}, "7.10.0", 400, "P2039", "Database error. Code: `23514`. Message: `m`"},
		"what names a password":  {pgconn.PgError{Code: "P0001", Message: "see postgres://u:secret@h/d now"}, "7.10.0", 400, "P2039", "Database error. Code: `P0001`. Message: `see [REDACTED] now`"},
		"a table without quotes": {pgconn.PgError{Code: "42P01", Message: `x`}, "7.10.0", 400, "P2021", "The table `(not available)` does not exist in the current database."},
	} {
		t.Run(name, func(t *testing.T) {
			version, err := ParseVersion(test.version)
			if err != nil {
				t.Fatal(err)
			}
			told := version.ErrorOf(fmt.Errorf("running: %w", &test.err))
			if told.Status != test.status || told.Code != test.code || told.Message != test.message {
				t.Errorf("got %d %s %s", told.Status, told.Code, told.Message)
			}
			if written, err := json.Marshal(told); err != nil || strings.Contains(string(written), "secret") {
				t.Errorf("written as %s: %v", written, err)
			}
		})
	}
}

func TestErrorsCarryWhatTheDriverTells(t *testing.T) {
	told := ErrorOf(&pgconn.PgError{Code: "23505", Message: "m", ConstraintName: "t_a_key", Detail: "Key (a)=(1) already exists."})
	written, err := json.Marshal(told)
	want := "{\"code\":\"P2002\",\"error\":\"Unique constraint failed on the constraint: `t_a_key`\",\"meta\":{\"driverAdapterError\":" +
		`{"name":"DriverAdapterError","cause":{"originalCode":"23505","originalMessage":"m","kind":"UniqueConstraintViolation",` +
		`"constraint":{"index":"t_a_key"},"table":"t"}},"table":"t"}}`
	if err != nil || string(written) != want {
		t.Errorf("got %s, %v", written, err)
	}
}

func TestOtherErrorsNameNoHost(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"a broken connection": {fmt.Errorf("reading from 10.0.0.1: %w", io.ErrUnexpectedEOF), 400, "P1017"},
		"no connection":       {fmt.Errorf("dialing 10.0.0.1: %w", syscall.ECONNREFUSED), 400, "P1001"},
		"a timeout":           {fmt.Errorf("asking 10.0.0.1: %w", context.DeadlineExceeded), 422, ""},
		"a caller that left":  {fmt.Errorf("asking 10.0.0.1: %w", context.Canceled), 500, ""},
		"any other":           {errors.New("10.0.0.1 is odd"), 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			told := ErrorOf(test.err)
			if told.Status != test.status || told.Code != test.code || strings.Contains(told.Message, "10.0.0.1") {
				t.Errorf("got %d %s %s", told.Status, told.Code, told.Message)
			}
			if !errors.Is(told, test.err) {
				t.Error("its cause is lost")
			}
		})
	}
}
