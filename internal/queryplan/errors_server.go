// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// driverCause is an error as Prisma's driver for PostgreSQL tells of it.
type driverCause struct {
	kind   string
	fields *object // As the client gets them, with the kind among them.
}

func (c *driverCause) Error() string { return c.kind }

func kindOf(kind string) *driverCause {
	return &driverCause{kind, newObject().with("kind", kind)}
}

func unsupportedType(oid uint32) error {
	name, known := typeNames[oid]
	if !known {
		name = "Unknown"
	}
	cause := kindOf("UnsupportedNativeDataType")
	cause.fields.set("type", name)
	return cause
}

// orNone is the text, or what JSON leaves out.
func orNone(text string) value {
	if text == "" {
		return undefined{}
	}
	return text
}

// serverCause sorts an error of the server by its SQLSTATE (PostgreSQL, Appendix A).
func (d dialect) serverCause(err *pgconn.PgError) *driverCause {
	cause := &driverCause{fields: newObject().
		with("originalCode", err.Code).with("originalMessage", censor(err.Message))}
	cause.kind = d.kindOfServer(err)
	cause.fields.set("kind", cause.kind)
	if detail := details[cause.kind]; detail != nil {
		detail(d, err, cause.fields)
	}
	return cause
}

// details are what a kind of error carries besides.
var details = map[string]func(d dialect, err *pgconn.PgError, into *object){
	"LengthMismatch":    func(_ dialect, err *pgconn.PgError, into *object) { into.set("column", orNone(err.ColumnName)) },
	"ValueOutOfRange":   func(_ dialect, err *pgconn.PgError, into *object) { into.set("cause", censor(err.Message)) },
	"InvalidInputValue": func(_ dialect, err *pgconn.PgError, into *object) { into.set("message", censor(err.Message)) },
	"NullConstraintViolation": func(_ dialect, err *pgconn.PgError, into *object) {
		into.set("constraint", fieldsConstraint(keyFields(err)))
	},
	"UniqueConstraintViolation":     dialect.unique,
	"ForeignKeyConstraintViolation": reference,
	"RestrictViolation":             reference,
	"DatabaseDoesNotExist":          namedDatabase,
	"DatabaseAlreadyExists":         namedDatabase,
	"DatabaseAccessDenied": func(_ dialect, err *pgconn.PgError, into *object) {
		into.set("db", deniedDatabase(err.Message))
	},
	"AuthenticationFailed": func(_ dialect, err *pgconn.PgError, into *object) { into.set("user", quoted(word(err.Message, -1))) },
	"TableDoesNotExist":    func(_ dialect, err *pgconn.PgError, into *object) { into.set("table", quoted(word(err.Message, 1))) },
	"ColumnNotFound":       func(d dialect, err *pgconn.PgError, into *object) { into.set("column", d.column(err.Message)) },
	"TooManyConnections":   func(_ dialect, err *pgconn.PgError, into *object) { into.set("cause", censor(err.Message)) },
	"postgres":             generic,
}

func namedDatabase(_ dialect, err *pgconn.PgError, into *object) {
	into.set("db", quoted(word(err.Message, 1)))
}

func (d dialect) kindOfServer(err *pgconn.PgError) string {
	kind, known := serverKinds[err.Code]
	switch {
	case !known,
		err.Code == "22P02" && !d.inputErrors,
		(err.Code == "23001" || err.Code == "40P01") && !d.constraintNames:
		return "postgres"
	}
	return kind
}

var serverKinds = map[string]string{
	"22001": "LengthMismatch",
	"22003": "ValueOutOfRange",
	"22P02": "InvalidInputValue",
	"23505": "UniqueConstraintViolation",
	"23502": "NullConstraintViolation",
	"23503": "ForeignKeyConstraintViolation",
	"23001": "RestrictViolation",
	"3D000": "DatabaseDoesNotExist",
	"28000": "DatabaseAccessDenied",
	"28P01": "AuthenticationFailed",
	"40001": "TransactionWriteConflict",
	"40P01": "TransactionWriteConflict",
	"42P01": "TableDoesNotExist",
	"42703": "ColumnNotFound",
	"42P04": "DatabaseAlreadyExists",
	"53300": "TooManyConnections",
}

var keyOf = regexp.MustCompile(`Key \(([^)]+)\)`)

// keyFields are the columns that the server's detail names; nil if none.
func keyFields(err *pgconn.PgError) []string {
	match := keyOf.FindStringSubmatch(err.Detail)
	if match == nil {
		return nil
	}
	return strings.Split(match[1], ", ")
}

func fieldsConstraint(fields []string) value {
	if fields == nil {
		return undefined{}
	}
	names := &list{}
	for _, field := range fields {
		names.items = append(names.items, field)
	}
	return newObject().with("fields", names)
}

func (d dialect) unique(err *pgconn.PgError, into *object) {
	fields := keyFields(err)
	if !d.constraintNames {
		into.set("constraint", fieldsConstraint(fields))
		return
	}
	into.set("constraint", fieldsConstraint(fields))
	if err.ConstraintName != "" {
		into.set("constraint", newObject().with("index", err.ConstraintName))
	}
	table := err.TableName
	if table == "" && len(fields) > 0 {
		suffix := "_" + strings.Join(fields, "_") + "_key"
		if before, ok := strings.CutSuffix(err.ConstraintName, suffix); ok {
			table = before
		}
	}
	into.set("table", orNone(table))
}

func reference(_ dialect, err *pgconn.PgError, into *object) {
	switch {
	case err.ColumnName != "":
		into.set("constraint", fieldsConstraint([]string{err.ColumnName}))
	case err.ConstraintName != "":
		into.set("constraint", newObject().with("index", err.ConstraintName))
	}
}

// word is one of a message's words, from its end if negative.
func word(message string, at int) string {
	words := strings.Split(message, " ")
	if at < 0 {
		at += len(words)
	}
	if at < 0 || at >= len(words) {
		return ""
	}
	return words[at]
}

// quoted is what stands between the first two quotation marks.
func quoted(text string) value {
	parts := strings.Split(text, `"`)
	if len(parts) < 2 {
		return undefined{}
	}
	return parts[1]
}

func deniedDatabase(message string) value {
	for part := range strings.SplitSeq(message, ",") {
		if strings.HasPrefix(part, " database") {
			return quoted(part)
		}
	}
	return undefined{}
}

var (
	missingColumn    = regexp.MustCompile(`^column (.+) does not exist$`)
	quotedIdentifier = regexp.MustCompile(`"((?:""|[^"])*)"`)
)

func (d dialect) column(message string) value {
	if !d.quotedColumns {
		return quoted(word(message, 1))
	}
	match := missingColumn.FindStringSubmatch(message)
	if match == nil {
		return undefined{}
	}
	return quotedIdentifier.ReplaceAllStringFunc(match[1], func(name string) string {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	})
}

func generic(_ dialect, err *pgconn.PgError, into *object) {
	into.with("code", err.Code).with("severity", err.Severity).with("message", censor(err.Message)).
		with("detail", orNone(censor(err.Detail))).with("column", orNone(err.ColumnName)).with("hint", orNone(censor(err.Hint)))
}

var connectionString = regexp.MustCompile("(?i)['\"`]?(postgres|postgresql|mysql|mariadb|sqlserver)://\\S+['\"`]?")

// censor hides connection strings in what a server says.
func censor(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return connectionString.ReplaceAllLiteralString(text, "[REDACTED]")
}
