// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/hex"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
)

// firstUserOID is from where on types are a database's own (PostgreSQL, System Catalog
// Initial Data, "OID Assignment").
const firstUserOID = 16384

// Types that pgtype has no name for.
const (
	nameOID        = 19
	moneyOID       = 790
	moneyArrayOID  = 791
	timetzOID      = 1266
	xmlArrayOID    = 143
	charArrayOID   = 1002
	bitArrayOID    = 1561
	varbitArrayOID = 1563
)

// columnKind is how a type's values are read, and what raw results call it.
type columnKind struct {
	name   string
	scalar func(text string) value
	array  bool
}

func asText(text string) value { return text }

// columnKinds are the types that Prisma reads (@prisma/adapter-pg, fieldToColumnType).
var columnKinds = map[uint32]columnKind{
	pgtype.Int2OID:        {name: "int", scalar: readNumber},
	pgtype.Int4OID:        {name: "int", scalar: readNumber},
	pgtype.Int8OID:        {name: "bigint", scalar: asText},
	pgtype.OIDOID:         {name: "bigint", scalar: readNumber},
	pgtype.Float4OID:      {name: "float", scalar: readNumber},
	pgtype.Float8OID:      {name: "double", scalar: readNumber},
	pgtype.BoolOID:        {name: "bool", scalar: readBoolean},
	pgtype.DateOID:        {name: "date", scalar: asText},
	pgtype.TimeOID:        {name: "time", scalar: asText},
	timetzOID:             {name: "time", scalar: withoutZone},
	pgtype.TimestampOID:   {name: "datetime", scalar: readTimestamp},
	pgtype.TimestamptzOID: {name: "datetime", scalar: readTimestamptz},
	pgtype.NumericOID:     {name: "decimal", scalar: asText},
	moneyOID:              {name: "decimal", scalar: readMoney},
	pgtype.JSONOID:        {name: "json", scalar: asText},
	pgtype.JSONBOID:       {name: "json", scalar: asText},
	pgtype.UUIDOID:        {name: "uuid", scalar: asText},
	pgtype.BPCharOID:      {name: "string", scalar: asText},
	pgtype.TextOID:        {name: "string", scalar: asText},
	pgtype.VarcharOID:     {name: "string", scalar: asText},
	pgtype.BitOID:         {name: "string", scalar: asText},
	pgtype.VarbitOID:      {name: "string", scalar: asText},
	pgtype.InetOID:        {name: "string", scalar: asText},
	pgtype.CIDROID:        {name: "string", scalar: asText},
	pgtype.XMLOID:         {name: "string", scalar: asText},
	nameOID:               {name: "string", scalar: asText},
	pgtype.ByteaOID:       {name: "bytes", scalar: readBytes},

	pgtype.Int2ArrayOID:        {name: "int-array", scalar: readNumber, array: true},
	pgtype.Int4ArrayOID:        {name: "int-array", scalar: readNumber, array: true},
	pgtype.Float4ArrayOID:      {name: "float-array", scalar: readNumber, array: true},
	pgtype.Float8ArrayOID:      {name: "double-array", scalar: readNumber, array: true},
	pgtype.NumericArrayOID:     {name: "decimal-array", scalar: asText, array: true},
	moneyArrayOID:              {name: "decimal-array", scalar: readMoney, array: true},
	pgtype.BoolArrayOID:        {name: "bool-array", scalar: readBoolean, array: true},
	charArrayOID:               {name: "char-array", scalar: asText}, // It stays one text.
	pgtype.BPCharArrayOID:      {name: "string-array", scalar: asText, array: true},
	pgtype.TextArrayOID:        {name: "string-array", scalar: asText, array: true},
	pgtype.VarcharArrayOID:     {name: "string-array", scalar: asText, array: true},
	varbitArrayOID:             {name: "string-array", scalar: asText, array: true},
	bitArrayOID:                {name: "string-array", scalar: asText, array: true},
	pgtype.InetArrayOID:        {name: "string-array", scalar: asText, array: true},
	pgtype.CIDRArrayOID:        {name: "string-array", scalar: asText, array: true},
	xmlArrayOID:                {name: "string-array", scalar: asText, array: true},
	pgtype.DateArrayOID:        {name: "date-array", scalar: asText, array: true},
	pgtype.TimeArrayOID:        {name: "time-array", scalar: asText, array: true},
	pgtype.TimestampArrayOID:   {name: "datetime-array", scalar: readTimestamp, array: true},
	pgtype.TimestamptzArrayOID: {name: "datetime-array", scalar: readTimestamptz, array: true},
	pgtype.JSONArrayOID:        {name: "json-array", scalar: asText, array: true},
	pgtype.JSONBArrayOID:       {name: "json-array", scalar: asText, array: true},
	pgtype.ByteaArrayOID:       {name: "bytes-array", scalar: readBytes, array: true},
	pgtype.UUIDArrayOID:        {name: "uuid-array", scalar: asText, array: true},
	pgtype.Int8ArrayOID:        {name: "bigint-array", scalar: asText, array: true},
	pgtype.OIDArrayOID:         {name: "bigint-array", scalar: readNumber, array: true},
}

func readNumber(text string) value {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(number, 0) {
		return math.NaN()
	}
	return number
}

func readBoolean(text string) value { return text == "t" }

func readTimestamp(text string) value { return strings.Replace(text, " ", "T", 1) + "+00:00" }

var zone = regexp.MustCompile(`[+-]\d{2}(:\d{2})?$`)

// readTimestamptz takes the zone for UTC: the session's is.
func readTimestamptz(text string) value {
	return zone.ReplaceAllString(strings.Replace(text, " ", "T", 1), "+00:00")
}

func withoutZone(text string) value { return zone.ReplaceAllString(text, "") }

func readMoney(text string) value {
	if text == "" {
		return ""
	}
	return text[1:] // Without the currency's sign.
}

func readBytes(text string) value {
	decoded, err := hex.DecodeString(strings.TrimPrefix(text, `\x`))
	if err != nil {
		return octets(text)
	}
	return octets(decoded)
}

// roundedTimestamp is how versions up to 6.17 read timestamps: as dates.
func roundedTimestamp(text string) value {
	at := parseDate(zone.ReplaceAllString(text, "") + "Z")
	return strings.Replace(strings.TrimSuffix(at.iso(), "Z"), ".000", "", 1) + "+00:00"
}

func (d dialect) columnKind(oid uint32) (columnKind, error) {
	kind, known := columnKinds[oid]
	switch {
	case oid >= firstUserOID:
		return columnKind{name: "string", scalar: asText}, nil
	case !known, oid == nameOID && !d.names:
		return kind, unsupportedType(oid)
	case d.roundedDates && strings.HasPrefix(kind.name, "datetime"):
		kind.scalar = roundedTimestamp
	}
	return kind, nil
}

func (k columnKind) read(field []byte) value {
	if field == nil {
		return nil
	}
	if !k.array {
		return k.scalar(string(field))
	}
	return parseArray(string(field), k.scalar)
}

// read turns a result into records, or into what raw queries give.
func (x *execution) read(result Result, raw bool) (value, error) {
	kinds := make([]columnKind, len(result.Fields))
	for i, field := range result.Fields {
		var err error
		if kinds[i], err = x.dialect.columnKind(field.OID); err != nil {
			return nil, err
		}
	}
	if err := x.spend(len(result.Rows) * (len(kinds) + 1)); err != nil {
		return nil, err
	}
	if raw {
		return x.rawResult(result, kinds)
	}
	return records(result, kinds), nil
}

// records gives the rows as objects. Of columns that share a name the last one's value
// counts.
func records(result Result, kinds []columnKind) *list {
	keys, at := uniqueNames(result.Fields)
	shape := newShape(keys)
	// All rows' values are one piece of memory, with room for what joins attach.
	stride := len(keys) + attached
	values := make([]value, stride*len(result.Rows))
	objects := make([]object, len(result.Rows))
	rows := &list{make([]value, len(result.Rows))}
	for i, row := range result.Rows {
		begun := i * stride
		objects[i] = object{shape: shape, values: values[begun : begun+len(keys) : begun+stride]}
		for j, field := range row {
			objects[i].values[at[j]] = kinds[j].read(field)
		}
		rows.items[i] = &objects[i]
	}
	return rows
}

// attached is for how many fields besides its columns a row has room.
const attached = 2

// uniqueNames gives every name once, in order, and where among them each column is.
func uniqueNames(fields []Field) (names []string, at []int) {
	known := make(map[string]int, len(fields))
	at = make([]int, len(fields))
	for i, field := range fields {
		first, seen := known[field.Name]
		if !seen {
			first = len(names)
			known[field.Name] = first
			names = append(names, field.Name)
		}
		at[i] = first
	}
	return names, at
}
