// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func everyTypeComesAsTextOrJSON(t *testing.T, g *gate) {
	t.Helper()
	g.rows(t, "create type mood as enum ('glad', 'sad, or so')")
	g.rows(t, "create domain positive as int check (value > 0)")
	typed := http.Header{connectionString: {g.url()}, arrayMode: {"true"}}
	for _, c := range []struct{ expression, raw, typed string }{
		{"true", `"t"`, `true`},
		{"false", `"f"`, `false`},
		{"32767::int2", `"32767"`, `32767`},
		{"'-2147483648'::int4", `"-2147483648"`, `-2147483648`},
		{"9007199254740993::int8", `"9007199254740993"`, `"9007199254740993"`},
		{"1.5::float4", `"1.5"`, `1.5`},
		{"0.1::float8 + 0.2::float8", `"0.30000000000000004"`, `0.30000000000000004`},
		{"1e300::float8", `"1e+300"`, `1e+300`},
		{"1e-07::float8", `"1e-07"`, `1e-07`},
		{"'-0'::float8", `"-0"`, `-0`},
		{"'NaN'::float8", `"NaN"`, `"NaN"`},
		{"'-Infinity'::float4", `"-Infinity"`, `"-Infinity"`},
		{"1.10::numeric", `"1.10"`, `"1.10"`},
		{"'NaN'::numeric", `"NaN"`, `"NaN"`},
		{"26::oid", `"26"`, `"26"`},
		{`'{"a": [1, null, "x"]}'::json`, `"{\"a\": [1, null, \"x\"]}"`, `{"a":[1,null,"x"]}`},
		{`'{"b":1, "a":1e2}'::jsonb`, `"{\"a\": 100, \"b\": 1}"`, `{"a":100,"b":1}`},
		{"'null'::jsonb", `"null"`, `null`},
		{`'"\u0022 \\ \n"'::json`, `"\"\\u0022 \\\\ \\n\""`, `"\" \\ \n"`},
		{`e'"\\ \t\n\u20ac \U0001F600\u0001'`, `"\"\\ \t\n€ 😀\u0001"`, `"\"\\ \t\n€ 😀\u0001"`},
		{"''::text", `""`, `""`},
		{"'x'::char(3)", `"x  "`, `"x  "`},
		{`'\xdeadBEEF'::bytea`, `"\\xdeadbeef"`, `"\\xdeadbeef"`},
		{"'2026-02-03 04:05:06.789+00'::timestamptz", `"2026-02-03 04:05:06.789+00"`, `"2026-02-03 04:05:06.789+00"`},
		{"date '0044-03-15 BC'", `"0044-03-15 BC"`, `"0044-03-15 BC"`},
		{"interval '1 day 2 hours'", `"1 day 02:00:00"`, `"1 day 02:00:00"`},
		{"'11111111-2222-3333-4444-555555555555'::uuid", `"11111111-2222-3333-4444-555555555555"`, `"11111111-2222-3333-4444-555555555555"`},
		{"'[1,5)'::int4range", `"[1,5)"`, `"[1,5)"`},
		{"'sad, or so'::mood", `"sad, or so"`, `"sad, or so"`},
		{"3::positive", `"3"`, `3`},
		{"row(1, 'a b')", `"(1,\"a b\")"`, `"(1,\"a b\")"`},
		{"null::int", `null`, `null`},
		{"'{}'::int[]", `"{}"`, `[]`},
		{"'{1,NULL,-3}'::int[]", `"{1,NULL,-3}"`, `[1,null,-3]`},
		{"'{{1,2},{3,4}}'::int2[]", `"{{1,2},{3,4}}"`, `[[1,2],[3,4]]`},
		{"'{{{1}},{{2}}}'::int[]", `"{{{1}},{{2}}}"`, `[[[1]],[[2]]]`},
		{"'[0:1]={7,8}'::int[]", `"[0:1]={7,8}"`, `[7,8]`},
		{"'{9007199254740993}'::int8[]", `"{9007199254740993}"`, `["9007199254740993"]`},
		{"'{t,f,NULL}'::bool[]", `"{t,f,NULL}"`, `[true,false,null]`},
		{"'{1.5,NaN,Infinity}'::float8[]", `"{1.5,NaN,Infinity}"`, `[1.5,"NaN","Infinity"]`},
		{"array['a', 'NULL', null, '', ' b ', 'c,d', '{e}', e'f\"\\\\\\n']", `"{a,\"NULL\",NULL,\"\",\" b \",\"c,d\",\"{e}\",\"f\\\"\\\\\n\"}"`, `["a","NULL",null,""," b ","c,d","{e}","f\"\\\n"]`},
		{`array['{"a":"}"}', 'null', '1']::json[]`, `"{\"{\\\"a\\\":\\\"}\\\"}\",\"null\",1}"`, `[{"a":"}"},null,1]`},
		{"array['2026-02-03']::date[]", `"{2026-02-03}"`, `["2026-02-03"]`},
		{"'{(1,2),(3,4);(5,6),(7,8)}'::box[]", `"{(3,4),(1,2);(7,8),(5,6)}"`, `"{(3,4),(1,2);(7,8),(5,6)}"`},
		{"array['glad', 'sad, or so']::mood[]", `"{glad,\"sad, or so\"}"`, `"{glad,\"sad, or so\"}"`},
		{"'1 2'::int2vector", `"1 2"`, `"1 2"`},
		{"'foo bar'::tsvector", `"'bar' 'foo'"`, `"'bar' 'foo'"`},
	} {
		body := query("select " + c.expression)
		for form, want := range map[string]string{"raw": c.raw, "typed": c.typed} {
			header := typed
			if form == "raw" {
				header = g.asDriver()
			}
			response, answer := g.post(t, header, body)
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", c.expression, answer)
				continue
			}
			equal(t, c.expression+", "+form, "[["+want+"]]", member(t, answer, "rows"))
		}
	}
}

func parametersArriveAsWhatTheyAre(t *testing.T, g *gate) {
	t.Helper()
	for _, c := range []struct{ expression, param, want string }{
		{"$1::text is null", `null`, `t`},
		{"$1::text", `"it's \"\\ \n \u20ac"`, "it's \"\\ \n €"},
		{"$1::text", `""`, ""},
		{"$1::int + 1", `41`, "42"},
		{"$1::int + 1", `"41"`, "42"},
		{"$1::float8", `-1.5e3`, "-1500"},
		{"$1::int8", `9007199254740993`, "9007199254740993"},
		{"not $1::bool", `true`, "f"},
		{"$1::jsonb ->> 'a'", `{"a": "b"}`, "b"},
		{"$1::jsonb -> 0", `"[7]"`, "7"},
		{"encode($1::bytea, 'escape')", `"\\x6869"`, "hi"},
		{"array_length($1::int[], 1)", `[1, null, 3]`, "3"},
		{"($1::int[])[2][1]", `[[1], [2]]`, "2"},
		{"($1::bool[])[1]", `[true]`, "t"},
		{"cardinality($1::text[])", `[]`, "0"},
		{"($1::jsonb[])[1] ->> 'a'", `[{"a": "x\"\\y"}]`, `x"\y`},
		{"($1::text[])[1]", `["NULL"]`, "NULL"},
		{"($1::text[])[1] is null", `[null]`, "t"},
		{"($1::text[])[1]", `["a\n\t\"\\,{}\u20ac"]`, "a\n\t\"\\,{}€"},
	} {
		rows := g.rows(t, "select "+c.expression, json.RawMessage(c.param))
		var got [][]string
		if err := json.Unmarshal([]byte(rows), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]string{{c.want}}, got); diff != "" {
			t.Errorf("%s with %s (-want +got):\n%s", c.expression, c.param, diff)
		}
	}
}

func TestADatabaseOfAnotherEncodingGivesUTF8(t *testing.T) {
	s := aSite(t)
	s.Postgres.Exec(t, "create database old owner owner template template0 encoding 'LATIN1' locale 'C'",
		"create database plain owner owner template template0 encoding 'SQL_ASCII' locale 'C'")
	for _, name := range []string{"old", "plain"} {
		s.Rendering.Config.Databases[0].Database = name
		s.rewrite(t)
		s.PgBouncer.Restart(t)
		g := aGate(t, s)
		if got, want := g.rows(t, "select $1::text", "é"), `[["é"]]`; got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}
