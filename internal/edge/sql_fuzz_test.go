// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// refusedOnly fails unless an error is one that clients may see.
func refusedOnly(t *testing.T, err error) {
	t.Helper()
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Status != http.StatusBadRequest || refusal.Code == "" || refusal.Message == "" {
		t.Fatalf("not a refusal: %#v", err)
	}
}

func FuzzConnectionString(f *testing.F) {
	for _, seed := range []string{
		"postgresql://app:s3cret%2Fof%20the%3Aclient@shop-web.edge.test/shop?sslmode=require&application_name=pkg%3Anpm%2Fx%401",
		"postgres://app:pw@[::1]:5432/a%2Fb/c", "postgresql://app:p%00w@h/d", "postgresql://:@/", "postgresql://a:b@h/%", "postgresql:a:b@h/d",
		"postgresql://app:pw@h/d?application_name=a%00user%00postgres", "http://app:pw@h/d", "", "\x00", "postgresql://a:b@h/d?%zz", "postgresql://a%ff:b@h/%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, login, err := readConnectionString(http.Header{connectionStringHeader: {text}})
		if err != nil {
			refusedOnly(t, err)
			if len(text) > 20 && strings.Contains(err.Error(), text) {
				t.Errorf("the refusal repeats it: %v", err)
			}
			return
		}
		if host == "" || login.User == "" || login.Password == "" || login.Database == "" {
			t.Fatalf("half of a login from %q", text)
		}
		oneStartup(t, login)
	})
}

// oneStartup checks that a server reads from the startup packet what the login says,
// and nothing else.
func oneStartup(t *testing.T, login Login) {
	t.Helper()
	sent := map[string]string{"user": login.User, "database": login.Database}
	maps.Copy(sent, login.Parameters)
	packet, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: sent}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	var read pgproto3.StartupMessage
	if err := read.Decode(packet[4:]); err != nil {
		t.Fatalf("the startup packet can not be read: %v", err)
	}
	if diff := cmp.Diff(sent, read.Parameters); diff != "" {
		t.Errorf("the startup packet (-sent +read):\n%s", diff)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("true", "true", "Serializable", "true", "true")
	f.Add("True", "1", "serializable; DROP TABLE t", "false", "")
	f.Add("", "", "", "TRUE", "false")
	f.Add("", "", "ReadCommitted READ WRITE", "", "\x00")
	f.Fuzz(func(t *testing.T, raw, array, isolation, readOnly, deferrable string) {
		header := http.Header{rawHeader: {raw}, arrayHeader: {array}, isolationHeader: {isolation}, readOnlyHeader: {readOnly}, deferrableHeader: {deferrable}}
		form, err := readForm(header)
		if err != nil {
			refusedOnly(t, err)
			return
		}
		if form.raw != (raw == "true") || form.array != (array == "true") || form.readOnly != (readOnly == "true") || form.deferrable != (deferrable == "true") {
			t.Errorf("%+v of %v", form, header)
		}
		if begin := form.begin(); strings.Trim(begin, "ABCDEFGILMNOPRSTUVYZ ") != "" {
			t.Errorf("the batch begins with %q", begin)
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"query":"select $1","params":[null,true,1.5e3,"x\n",{"a":[1]},[1,null,["a\"\\"]]],"arrayMode":false}`,
		`{"queries":[{"query":"select 1"},{"query":"select $1","params":["\u0000"]}]}`, `{"queries":[]}`, `{"queries":null,"query":"x"}`,
		`{"query":"a\u0000b"}`, `{"query":null}`, `{"params":[[[[[[[[1]]]]]]]]}`, `[]`, `{"query":"\ud800"}`, `{"QUERY":"x","query":1}`,
		`{"query":"x","params":{}}`, `{"query":"x","params":[ [ ] , [[],[]] ]}`, `{"query":"x"}{`, "{\"query\":\"\xff\"}", strings.Repeat("[", 200),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		statements, batch, err := readStatements(body)
		if err != nil {
			refusedOnly(t, err)
			return
		}
		if !batch && len(statements) != 1 {
			t.Fatalf("%d statements", len(statements))
		}
		for _, s := range statements {
			oneParse(t, s)
		}
	})
}

// oneParse checks that a server reads the statement that was sent, and nothing behind it.
func oneParse(t *testing.T, s statement) {
	t.Helper()
	packet, err := (&pgproto3.Parse{Query: *s.Query}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	var read pgproto3.Parse
	if err := read.Decode(packet[5:]); err != nil || read.Query != *s.Query || len(read.ParameterOIDs) != 0 {
		t.Errorf("%q is read as %q, %v", *s.Query, read.Query, err)
	}
	if len(s.parameters) != len(s.Params) {
		t.Errorf("%d parameters of %d", len(s.parameters), len(s.Params))
	}
}

// FuzzArrayParameter reads what was written with pgx, which reads arrays as PostgreSQL
// does, and writes it as JSON again.
func FuzzArrayParameter(f *testing.F) {
	for _, seed := range []string{
		`["a","NULL",null,"","\\","\"","a,b","{x}"," ","\n\t\u0001\u20ac"]`, `[1,-2.5e10,true,false,null]`, `[["a","b"],["c",null]]`,
		`[{"a":"}\""},[]]`, `[]`, `[null]`, `["\ud800"]`, `[[["deep"]]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want []any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if !json.Valid(raw) || decoder.Decode(&want) != nil || want == nil {
			return
		}
		var p parameter
		if err := json.Unmarshal(raw, &p); err != nil {
			refusedOnly(t, err)
			return
		}
		flat, regular := flatten(want, nil)
		if !regular {
			return // PostgreSQL refuses it.
		}
		var read pgtype.Array[pgtype.Text]
		if err := types.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, p.text, &read); err != nil {
			t.Fatalf("%s of %s can not be read: %v", p.text, raw, err)
		}
		if diff := cmp.Diff(flat, texts(read.Elements)); diff != "" && len(flat) > 0 {
			t.Errorf("%s (-want +got):\n%s", p.text, diff)
		}
	})
}

// flatten returns the elements as PostgreSQL's text, and whether they are such as an
// array of one dimension has.
func flatten(elements []any, out []*string) ([]*string, bool) {
	for _, element := range elements {
		switch element := element.(type) {
		case nil:
			out = append(out, nil)
		case string:
			out = append(out, &element)
		case json.Number:
			out = append(out, new(element.String()))
		default:
			return nil, false
		}
	}
	return out, true
}

func texts(elements []pgtype.Text) []*string {
	var out []*string
	for _, element := range elements {
		if !element.Valid {
			out = append(out, nil)
			continue
		}
		out = append(out, &element.String)
	}
	return out
}

// FuzzValue writes what a server may send as JSON, whatever it is.
func FuzzValue(f *testing.F) {
	for _, oid := range []uint32{
		pgtype.BoolOID, pgtype.Int4OID, pgtype.Float8OID, pgtype.JSONBOID, pgtype.TextOID,
		pgtype.BoolArrayOID, pgtype.Int4ArrayOID, pgtype.Float8ArrayOID, pgtype.JSONBArrayOID, pgtype.TextArrayOID, 1 << 30,
	} {
		for _, seed := range []string{
			"t", "-1", "NaN", "1e+20", `{"a":[1]}`, "a\"\\\n\x01\xff\xe2\x82\xac", "{}", "{1,NULL,-3}", "[0:1]={7,8}",
			`{{a,"b,\"\\"},{"NULL",NULL}}`, "{", "{,}", "{1,}", "{{1},2", `{"a`, `{"a\`, "}{", "{1}2", "{1 ,2}", "",
		} {
			f.Add(oid, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, oid uint32, value []byte) {
		out := kindOf(oid).append(nil, value)
		if !json.Valid(out) {
			t.Fatalf("type %d: %q became %s", oid, value, out)
		}
		var asText string
		if err := json.Unmarshal(appendString(nil, value), &asText); err != nil || utf8.Valid(value) && asText != string(value) {
			t.Fatalf("%q became %q, %v", value, asText, err)
		}
	})
}
