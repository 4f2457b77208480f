// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "testing"

func process(records, operations string) string {
	return `{"type":"process","args":{"expr":` + of(records) + `,"operations":` + operations + `}}`
}

func ops(fields string) string {
	base := `"pagination":null,"distinct":null,"reverse":false,"linkingFields":null,"nested":{}`
	if fields == "" {
		return `{` + base + `}`
	}
	return `{` + base + `,` + fields + `}` // The last of a repeated key counts.
}

func TestRecordsAreProcessedInMemory(t *testing.T) {
	const five = `[{"id":1,"p":2},{"id":2,"p":1},{"id":3,"p":2},{"id":4,"p":1},{"id":5,"p":10}]`
	for name, test := range map[string]struct{ records, operations, want string }{
		"not at all":                {five, ops(``), five},
		"a page":                    {five, ops(`"pagination":{"cursor":null,"take":2,"skip":1}`), `[{"id":2,"p":1},{"id":3,"p":2}]`},
		"from a cursor on":          {five, ops(`"pagination":{"cursor":{"id":4},"take":null,"skip":null}`), `[{"id":4,"p":1},{"id":5,"p":10}]`},
		"from a cursor of a text":   {five, ops(`"pagination":{"cursor":{"id":"5"},"take":null,"skip":null}`), `[{"id":5,"p":10}]`},
		"from a cursor of no row":   {five, ops(`"pagination":{"cursor":{"id":9},"take":null,"skip":null}`), `[]`},
		"distinct":                  {five, ops(`"distinct":["p"]`), `[{"id":1,"p":2},{"id":2,"p":1},{"id":5,"p":10}]`},
		"turned round":              {`[1,2]`, ops(`"reverse":true`), `[2,1]`},
		"a page of each parent's":   {five, ops(`"pagination":{"cursor":null,"take":1,"skip":0},"linkingFields":["p"]`), `[{"id":5,"p":10},{"id":2,"p":1},{"id":1,"p":2}]`},
		"distinct of each parent's": {`[{"a":1,"p":1},{"a":1,"p":2},{"a":1,"p":1}]`, ops(`"distinct":["a"],"linkingFields":["p"]`), `[{"a":1,"p":1},{"a":1,"p":2}]`},
		"nested":                    {`[{"k":[1,2,3]},{"k":null}]`, ops(`"nested":{"k":` + ops(`"pagination":{"cursor":null,"take":1,"skip":1}`) + `}`), `[{"k":[2]},{"k":null}]`},
		"documents":                 {`"[{\"k\":[3,2]}]"`, ops(`"nested":{"k":` + ops(`"reverse":true`) + `}`), `[{"k":[2,3]}]`},
		"one that is skipped":       {`{"id":1}`, ops(`"pagination":{"cursor":null,"take":null,"skip":1}`), `null`},
		"one that is not taken":     {`{"id":1}`, ops(`"pagination":{"cursor":null,"take":0,"skip":null}`), `null`},
		"one at the cursor":         {`{"id":1}`, ops(`"pagination":{"cursor":{"id":1},"take":null,"skip":null}`), `{"id":1}`},
		"one before the cursor":     {`{"id":1}`, ops(`"pagination":{"cursor":{"id":2},"take":null,"skip":null}`), `null`},
		"none":                      {`null`, ops(`"reverse":true`), `null`},
		"a cursor on a date":        {`[{"at":"2001-02-03T04:05:06.123456+00:00"}]`, ops(`"pagination":{"cursor":{"at":` + param("at", "DateTime") + `},"take":null,"skip":null}`), `[{"at":"2001-02-03T04:05:06.123456+00:00"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := runPlan(t, &replies{}, process(test.records, test.operations), `{"at":"2001-02-03T04:05:06.123Z"}`)
			if err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func param(name, kind string) string {
	return `{"prisma__type":"param","prisma__value":{"name":"` + name + `","type":"` + kind + `"}}`
}

func TestResultsTakeTheirFieldsTypes(t *testing.T) {
	for name, test := range map[string]struct{ value, fieldType, want, wrong string }{
		"string":           {`"a"`, `"type":"string"`, `"a"`, `1`},
		"int":              {`"12"`, `"type":"int"`, `12`, `"x"`},
		"int that is cut":  {`1.9`, `"type":"int"`, `1`, `"9007199254740993"`},
		"bigint":           {`"9007199254740993"`, `"type":"bigint"`, `{"$type":"BigInt","value":"9007199254740993"}`, `true`},
		"float":            {`"1.5"`, `"type":"float"`, `1.5`, `"x"`},
		"float that is no": {`"NaN"`, `"type":"float"`, `null`, `true`},
		"boolean":          {`"1"`, `"type":"boolean"`, `true`, `"yes"`},
		"boolean number":   {`0`, `"type":"boolean"`, `false`, `"yes"`},
		"decimal":          {`"1.50"`, `"type":"decimal"`, `{"$type":"Decimal","value":"1.5"}`, `true`},
		"timestamp":        {`"2001-02-03 04:05:06.789123+02"`, `"type":"datetime"`, `{"$type":"DateTime","value":"2001-02-03T02:05:06.789Z"}`, `true`},
		"day":              {`"2001-02-03"`, `"type":"datetime"`, `{"$type":"DateTime","value":"2001-02-03T00:00:00.000Z"}`, `true`},
		"time":             {`"04:05:06"`, `"type":"datetime"`, `{"$type":"DateTime","value":"1970-01-01T04:05:06.000Z"}`, `true`},
		"json":             {`"{\"b\": 1.0, \"10\": 2, \"1\": 3}"`, `"type":"json"`, `{"$type":"Json","value":"{\"1\":3,\"10\":2,\"b\":1}"}`, ``},
		"object":           {`{"a":[1]}`, `"type":"object"`, `{"$type":"Json","value":"{\"a\":[1]}"}`, ``},
		"bytes in base64":  {`"AQI="`, `"type":"bytes","encoding":"base64"`, `{"$type":"Bytes","value":"AQI="}`, `1`},
		"bytes in hex":     {`"\\x0102"`, `"type":"bytes","encoding":"hex"`, `{"$type":"Bytes","value":"AQI="}`, `"0102"`},
		"bytes as numbers": {`[1,2]`, `"type":"bytes","encoding":"array"`, `{"$type":"Bytes","value":"AQI="}`, `"0102"`},
		"enum":             {`"dark-blue"`, `"type":"enum","name":"Colour"`, `"DARK_BLUE"`, `"pink"`},
		"unknown enum":     {`null`, `"type":"enum","name":"Colour"`, `null`, ``},
		"unsupported":      {`[1,null]`, `"type":"unsupported"`, `[1,null]`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := runPlan(t, &replies{}, mapped(test.value, test.fieldType, "optional"), `{}`)
			if err != nil || got != `{"f":`+test.want+`}` {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
			if test.wrong == "" {
				return
			}
			if _, err = runPlan(t, &replies{}, mapped(test.wrong, test.fieldType, "optional"), `{}`); ErrorOf(err).Code != "P2023" {
				t.Errorf("%s gives %v, want P2023", test.wrong, err)
			}
		})
	}
}

func mapped(value, fieldType, arity string) string {
	return `{"type":"dataMap","args":{"expr":` + of(`{"c":`+value+`}`) + `,"enums":{"Colour":{"dark-blue":"DARK_BLUE"}},"structure":` +
		`{"type":"object","serializedName":null,"skipNulls":false,"fields":{"f":{"type":"field","dbName":"c","fieldType":{"arity":"` + arity + `",` + fieldType + `}}}}}}`
}

func TestListsOfResultsAreNeverNull(t *testing.T) {
	for value, want := range map[string]string{`null`: `{"f":[]}`, `[1,"2"]`: `{"f":[1,2]}`} {
		if got, err := runPlan(t, &replies{}, mapped(value, `"type":"int"`, "list"), `{}`); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestAMissingFieldIsQuotedWithItsData(t *testing.T) {
	plan := `{"type":"dataMap","args":{"expr":` + of(`{"d":1}`) + `,"enums":{},"structure":{"type":"object","serializedName":null,"skipNulls":false,` +
		`"fields":{"f":{"type":"field","dbName":"c","fieldType":{"arity":"required","type":"int"}}}}}}`
	_, err := runPlan(t, &replies{}, plan, `{}`)
	want := `Missing data field (Value): 'c'; node: {"type":"field","dbName":"c","fieldType":{"arity":"required","type":"int"}}; data: {"d":1}`
	if told := ErrorOf(err); told.Code != "P2023" || told.Message != want {
		t.Errorf("got %s %s", told.Code, told.Message)
	}
}
