// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "strings"

// told is how Prisma tells of a kind of error: by a code, and in words that take what the
// cause says.
type told struct {
	code  string
	words func(cause *object) string
}

func fixed(words string) func(*object) string { return func(*object) string { return words } }

// about puts what the cause says of a thing between two texts.
func about(before, key, after string) func(*object) string {
	return func(cause *object) string {
		text := "(not available)"
		if v := cause.get(key); !isNullish(v) {
			text = textOf(v)
		}
		return before + text + after
	}
}

var kinds = map[string]told{
	"AuthenticationFailed": {"P1000", about("Authentication failed against the database server, the provided database credentials for `",
		"user", "` are not valid")},
	"DatabaseNotReachable":  {"P1001", fixed("Can't reach database server")},
	"DatabaseDoesNotExist":  {"P1003", about("Database `", "db", "` does not exist on the database server")},
	"DatabaseAlreadyExists": {"P1009", about("Database `", "db", "` already exists on the database server")},
	"DatabaseAccessDenied":  {"P1010", about("User was denied access on the database `", "db", "`")},
	"ConnectionClosed":      {"P1017", fixed("Server has closed the connection.")},
	"LengthMismatch":        {"P2000", about("The provided value for the column is too long for the column's type. Column: ", "column", "")},
	"UniqueConstraintViolation": {"P2002", func(cause *object) string {
		return "Unique constraint failed on the " + constraintText(cause)
	}},
	"ForeignKeyConstraintViolation": {"P2003", foreignKeyText},
	"RestrictViolation":             {"P2003", foreignKeyText},
	"InvalidInputValue":             {"P2007", about("Invalid input value: ", "message", "")},
	"UnsupportedNativeDataType": {"P2010", about("Failed to deserialize column of type '", "type",
		"'. If you're using $queryRaw and this column is explicitly marked as `Unsupported` in your Prisma schema, "+
			"try casting this column to any supported Prisma type such as `String`.")},
	"NullConstraintViolation": {"P2011", func(cause *object) string {
		return "Null constraint violation on the " + constraintText(cause)
	}},
	"ValueOutOfRange":   {"P2020", about("Value out of range for the type: ", "cause", "")},
	"TableDoesNotExist": {"P2021", about("The table `", "table", "` does not exist in the current database.")},
	"ColumnNotFound":    {"P2022", about("The column `", "column", "` does not exist in the current database.")},
	"TransactionWriteConflict": {"P2034", fixed(
		"Transaction failed due to a write conflict or a deadlock. Please retry your transaction")},
	"TooManyConnections": {"P2037", about("Too many database connections opened: ", "cause", "")},
}

func foreignKeyText(cause *object) string {
	return "Foreign key constraint violated on the " + constraintText(cause)
}

func constraintText(cause *object) string {
	constraint, ok := cause.get("constraint").(*object)
	if !ok {
		return "(not available)"
	}
	if fields, ok := constraint.get("fields").(*list); ok {
		names := make([]string, len(fields.items))
		for i, field := range fields.items {
			names[i] = "`" + textOf(field) + "`"
		}
		return "fields: (" + strings.Join(names, ", ") + ")"
	}
	return "constraint: `" + constraint.text("index") + "`"
}

// tell puts a cause into the client's terms.
func (d dialect) tell(cause *driverCause, raw bool) *Error {
	meta := newObject().with("driverAdapterError", newObject().with("name", "DriverAdapterError").with("cause", cause.fields))
	of, known := kinds[cause.kind]
	switch {
	case raw:
		return &Error{
			Status: 400, Code: "P2010", Meta: meta,
			Message: "Raw query failed. Code: `" + cause.code() + "`. Message: `" + original(cause) + "`",
		}
	case known:
		if cause.kind == "UniqueConstraintViolation" && cause.fields.has("table") {
			meta.set("table", cause.fields.get("table"))
		}
		return &Error{Status: 400, Code: of.code, Message: of.words(cause.fields), Meta: meta}
	case d.genericErrors:
		return &Error{
			Status: 400, Code: "P2039", Meta: meta,
			Message: "Database error. Code: `" + cause.code() + "`. Message: `" + original(cause) + "`",
		}
	}
	return &Error{Status: 500, Message: cause.fields.text("message")}
}

func (c *driverCause) code() string {
	if code := c.fields.get("originalCode"); !isNullish(code) {
		return textOf(code)
	}
	return "N/A"
}

// original is the server's message, or ours where there is none.
func original(cause *driverCause) string {
	if message := cause.fields.get("originalMessage"); !isNullish(message) {
		return textOf(message)
	}
	return kinds[cause.kind].words(cause.fields)
}
