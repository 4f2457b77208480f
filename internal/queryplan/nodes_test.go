// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"strings"
	"testing"
)

func of(args string) string { return `{"type":"value","args":` + args + `}` }

func get(name string) string { return `{"type":"get","args":{"name":"` + name + `"}}` }

func let(name, value, body string) string {
	return `{"type":"let","args":{"bindings":[{"name":"` + name + `","expr":` + value + `}],"expr":` + body + `}}`
}

func TestNodesComputeWhatTheyAreNamedFor(t *testing.T) {
	two := of(`[{"id":1,"a":"x"},{"id":2,"a":"y"}]`)
	for name, test := range map[string]struct{ plan, params, want string }{
		"a value":                          {of(`{"a":[1,"b",null,true]}`), `{}`, `{"a":[1,"b",null,true]}`},
		"a parameter":                      {of(`{"prisma__type":"param","prisma__value":{"name":"%1","type":"Int"}}`), `{"%1":5}`, `5`},
		"parameters within a list":         {of(`[1,{"prisma__type":"param","prisma__value":{"name":"%1","type":"Int"}}]`), `{"%1":[2,3]}`, `[1,[2,3]]`},
		"the last of a sequence":           {`{"type":"seq","args":[` + of(`1`) + `,` + of(`2`) + `]}`, `{}`, `2`},
		"an empty sequence":                {`{"type":"seq","args":[]}`, `{}`, `null`},
		"what a name stands for":           {let("a", of(`1`), get("a")), `{"a":2}`, `1`},
		"an outer name":                    {let("a", of(`1`), let("b", of(`2`), get("a"))), `{}`, `1`},
		"a name that hides another":        {let("a", of(`1`), let("a", of(`2`), get("a"))), `{}`, `2`},
		"a parameter under its name":       {let("b", of(`1`), get("a")), `{"a":2}`, `2`},
		"a name that is none":              {get("a"), `{}`, `null`},
		"the first that is not empty":      {let("a", of(`[]`), let("b", of(`[1]`), `{"type":"getFirstNonEmpty","args":{"names":["a","c","b"]}}`)), `{}`, `[1]`},
		"nothing of what is empty":         {let("a", of(`[]`), `{"type":"getFirstNonEmpty","args":{"names":["a"]}}`), `{}`, `[]`},
		"lists one after the other":        {`{"type":"concat","args":[` + of(`[1,2]`) + `,` + of(`3`) + `,` + of(`null`) + `]}`, `{}`, `[1,2,3,null]`},
		"no lists":                         {`{"type":"concat","args":[]}`, `{}`, `[]`},
		"a sum":                            {`{"type":"sum","args":[` + of(`1`) + `,` + of(`"2"`) + `]}`, `{}`, `3`},
		"an empty sum":                     {`{"type":"sum","args":[]}`, `{}`, `0`},
		"a list turned round":              {`{"type":"reverse","args":` + of(`[1,2,3]`) + `}`, `{}`, `[3,2,1]`},
		"the only one":                     {`{"type":"unique","args":` + of(`[1]`) + `}`, `{}`, `1`},
		"the only one of none":             {`{"type":"unique","args":` + of(`[]`) + `}`, `{}`, `null`},
		"what is required":                 {`{"type":"required","args":` + of(`[1]`) + `}`, `{}`, `[1]`},
		"a field of each":                  {`{"type":"mapField","args":{"field":"id","records":` + two + `}}`, `{}`, `[1,2]`},
		"a field that is missing":          {`{"type":"mapField","args":{"field":"z","records":` + two + `}}`, `{}`, `[null,null]`},
		"a branch that holds":              {`{"type":"if","args":{"value":` + of(`[1]`) + `,"rule":{"type":"rowCountEq","args":1},"then":` + of(`"then"`) + `,"else":` + of(`"else"`) + `}}`, `{}`, `"then"`},
		"a branch that does not":           {`{"type":"if","args":{"value":` + of(`null`) + `,"rule":{"type":"rowCountNeq","args":0},"then":` + of(`"then"`) + `,"else":` + of(`"else"`) + `}}`, `{}`, `"else"`},
		"a branch on affected rows":        {`{"type":"if","args":{"value":` + of(`3`) + `,"rule":{"type":"affectedRowCountEq","args":3},"then":` + of(`"then"`) + `,"else":` + of(`"else"`) + `}}`, `{}`, `"then"`},
		"a branch that never holds":        {`{"type":"if","args":{"value":` + of(`3`) + `,"rule":{"type":"never"},"then":` + of(`"then"`) + `,"else":` + of(`"else"`) + `}}`, `{}`, `"else"`},
		"nothing":                          {`{"type":"unit"}`, `{}`, `null`},
		"records that are not among":       {`{"type":"diff","args":{"from":` + two + `,"to":` + of(`[{"id":1}]`) + `,"fields":["id"]}}`, `{}`, `[{"id":2,"a":"y"}]`},
		"a record that a plan begins with": {`{"type":"initializeRecord","args":{"expr":{"type":"unit"},"fields":{"a":{"type":"value","value":1},"b":{"type":"lastInsertId"}}}}`, `{}`, `{"a":1}`},
		"a record that is changed": {
			`{"type":"mapRecord","args":{"expr":` + of(`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}`) + `,"fields":{"a":{"type":"set","value":9},` +
				`"b":{"type":"add","value":1},"c":{"type":"subtract","value":1},"d":{"type":"multiply","value":2},"e":{"type":"divide","value":2},"f":{"type":"divide","value":0}}}}`,
			`{}`, `{"a":9,"b":3,"c":2,"d":8,"e":2.5,"f":null}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := runPlan(t, &replies{}, test.plan, test.params); err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func join(parent, child, more string) string {
	return `{"type":"join","args":{"parent":` + parent + `,"children":[{"child":` + child + `,` + more + `}}`
}

func TestJoinsAttachChildrenByTheirKeys(t *testing.T) {
	parents := of(`[{"id":1},{"id":2},{"id":null}]`)
	children := of(`[{"p":2,"n":"a"},{"p":1,"n":"b"},{"p":2,"n":"c"},{"p":null,"n":"d"},null]`)
	for name, test := range map[string]struct{ plan, want string }{
		"to many": {
			join(parents, children, `"on":[["id","p"]],"parentField":"kids","isRelationUnique":false}],"canAssumeStrictEquality":true`),
			`[{"id":1,"kids":[{"p":1,"n":"b"}]},{"id":2,"kids":[{"p":2,"n":"a"},{"p":2,"n":"c"}]},{"id":null,"kids":[{"p":null,"n":"d"}]}]`,
		},
		"to one": {
			join(of(`{"id":3}`), of(`{"p":3}`), `"on":[["id","p"]],"parentField":"kid","isRelationUnique":true}]`),
			`{"id":3,"kid":{"p":3}}`,
		},
		"to none": {join(of(`null`), children, `"on":[["id","p"]],"parentField":"kid","isRelationUnique":true}]`), `null`},
		"of another type without casts": {
			join(of(`{"id":3}`), of(`{"p":"3"}`), `"on":[["id","p"]],"parentField":"kid","isRelationUnique":true}]`),
			`{"id":3,"kid":null}`,
		},
		"of another type with casts": {
			join(of(`{"id":3}`), of(`{"p":"3"}`), `"on":[["id","p"]],"parentField":"kid","isRelationUnique":true}],"canAssumeStrictEquality":false`),
			`{"id":3,"kid":{"p":"3"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := runPlan(t, &replies{}, test.plan, `{}`); err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestPlansThatCannotBeRunSayWhy(t *testing.T) {
	for plan, want := range map[string]string{
		of(`{"prisma__type":"param","prisma__value":{"name":"%1","type":"Int"}}`):                   "Missing value for query variable %1",
		of(`{"prisma__type":"generatorCall","prisma__value":{"name":"dice","args":[]}}`):            "Encountered an unknown generator 'dice'",
		`{"type":"unique","args":` + of(`[1,2]`) + `}`:                                              "Expected zero or one element, got 2",
		`{"type":"required","args":` + of(`[]`) + `}`:                                               "Required value is empty",
		`{"type":"sum","args":[` + of(`1`) + `,` + of(`true`) + `]}`:                                "Expected number, got boolean",
		join(of(`[1]`), of(`[]`), `"on":[["id","p"]],"parentField":"k","isRelationUnique":false}]`): "Expected object, got number",
	} {
		_, err := runPlan(t, &replies{}, plan, `{}`)
		told := ErrorOf(err)
		if err == nil || told.Status != 500 || told.Code != "" || told.Message != want {
			t.Errorf("%s: got %v, want %q", plan, told, want)
		}
	}
}

func TestValidationsFailWithTheirCodes(t *testing.T) {
	for name, test := range map[string]struct{ identifier, context, code, message string }{
		"a required relation": {
			"RELATION_VIOLATION", `{"relation":"R","modelA":"A","modelB":"B"}`, "P2014",
			"The change you are trying to make would violate the required relation 'R' between the `A` and `B` models.",
		},
		"a record": {"MISSING_RECORD", `{"operation":"an update"}`, "P2025", missingRecords + "No record was found for an update."},
		"a related record": {
			"MISSING_RELATED_RECORD", `{"model":"M","relation":"R","relationType":"one-to-one","operation":"a nested connect","neededFor":"x"}`, "P2025",
			missingRecords + "No 'M' record (needed to x) was found for a nested connect on one-to-one relation 'R'.",
		},
		"what is to be connected": {"INCOMPLETE_CONNECT_INPUT", `{"expectedRows":2}`, "P2025", missingRecords + "Expected 2 records to be connected, found only 1."},
		"what was connected": {
			"INCOMPLETE_CONNECT_OUTPUT", `{"expectedRows":2,"relation":"R","relationType":"many-to-many"}`, "P2018",
			"The required connected records were not found. Expected 2 records to be connected after connect operation on many-to-many relation 'R', found 1.",
		},
		"what is not connected": {
			"RECORDS_NOT_CONNECTED", `{"relation":"R","parent":"A","child":"B"}`, "P2017",
			"The records for relation `R` between the `A` and `B` models are not connected.",
		},
	} {
		for _, key := range []string{"errorIdentifier", "error_identifier"} { // The latter up to 7.4.
			t.Run(name+" by "+key, func(t *testing.T) {
				_, err := runPlan(t, &replies{}, `{"type":"validate","args":{"expr":`+of(`[1]`)+`,"rules":[{"type":"rowCountEq","args":2}],"`+
					key+`":"`+test.identifier+`","context":`+test.context+`}}`, `{}`)
				written, _ := ErrorOf(err).MarshalJSON()
				if told := ErrorOf(err); told.Status != 400 || told.Code != test.code || told.Message != test.message {
					t.Errorf("got %d %s %s", told.Status, told.Code, told.Message)
				}
				if !strings.HasSuffix(string(written), `"meta":`+test.context+`}`) {
					t.Errorf("the context is missing in %s", written)
				}
			})
		}
	}
}

func TestMalformedPlansAreRefused(t *testing.T) {
	for _, body := range []string{
		``, `{`, `[]`, `{}`, `{"operation":"x","plan":{},"params":{}}`, `{"operation":"x","plan":{"type":"unit"}}`,
		`{"operation":"x","plan":{"type":"dance","args":{}},"params":{}}`,
		`{"operation":"x","plan":{"type":"seq","args":{}},"params":{}}`,
		`{"operation":"x","plan":{"type":"get","args":{}},"params":{}}`,
		`{"operation":"x","plan":{"type":"query","args":{"type":"sql"}},"params":{}}`,
		`{"operation":"x","plan":{"type":"query","args":{"type":"templateSql","args":[],"argTypes":[],"placeholderFormat":{"prefix":"$"},"fragments":[{"type":"x"}]}},"params":{}}`,
		`{"operation":"x","plan":{"type":"unit"},"params":{}} x`,
	} {
		_, err := Decode([]byte(body), newestVersion, DefaultLimits)
		if told := ErrorOf(err); err == nil || told.Status != 400 {
			t.Errorf("%s: got %v", body, err)
		}
	}
}
