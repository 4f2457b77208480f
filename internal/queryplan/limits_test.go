// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

type hostileRequest struct{ name, body string }

// hostile are requests that would take what no request may.
func hostile() []hostileRequest {
	request := func(plan string) string { return `{"operation":"x","plan":` + plan + `,"params":{}}` }
	generator := func(name, args string) string {
		return `{"prisma__type":"generatorCall","prisma__value":{"name":"` + name + `","args":[` + args + `]}}`
	}
	many := "[" + strings.TrimSuffix(strings.Repeat("1,", 5000), ",") + "]"
	doubled := of(many)
	for i := range 40 {
		doubled = let(fmt.Sprint("a", i), doubled, `{"type":"concat","args":[`+get(fmt.Sprint("a", i))+`,`+get(fmt.Sprint("a", i))+`]}`)
	}
	loop := let("p", of(`[{"id":1}]`), join(get("p"), get("p"), `"on":[["id","id"]],"parentField":"self","isRelationUnique":false}]`))
	cross := join(of("["+strings.TrimSuffix(strings.Repeat(`{"id":1},`, 5000), ",")+"]"), of("["+strings.TrimSuffix(strings.Repeat(`{"p":1},`, 5000), ",")+"]"),
		`"on":[["id","p"]],"parentField":"kids","isRelationUnique":false}]`)
	return []hostileRequest{
		{"a product", request(of(generator("product", many+","+many)))},
		{"products of products", request(of(generator("product", generator("product", many+","+many)+","+many)))},
		{"lists that double", request(doubled)},
		{"a record within itself", request(loop)},
		{"a join of all with all", request(cross)},
		{"a deep plan", request(strings.Repeat(`{"type":"unique","args":`, 300) + `{"type":"unit"}` + strings.Repeat("}", 300))},
		{"a deep value", request(of(strings.Repeat("[", 300) + strings.Repeat("]", 300)))},
		{"a deep document", request(process(`"`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`"`, ops(``)))},
		{"many values", request(of("[" + strings.Repeat("[],", 2_000_000) + "[]]"))},
		{"a long identifier", request(of(generator("nanoid", "1e300")))},
		{"many statements", request(`{"type":"concat","args":[` + strings.TrimSuffix(strings.Repeat(`{"type":"query","args":{"type":"rawSql","sql":"select","args":[],"argTypes":[]}},`, 20_000), ",") + `]}`)},
	}
}

func TestHostilePlansAreStopped(t *testing.T) {
	for _, test := range hostile() {
		t.Run(test.name, func(t *testing.T) {
			request, err := Decode([]byte(test.body), newestVersion, DefaultLimits)
			if err == nil {
				_, err = request.Run(t.Context(), &replies{}, false, nil)
			}
			told, ok := errors.AsType[*Error](err)
			if !ok || told.Status != 400 && told.Status != 422 && told.Status != 500 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestResultsKeepToTheLimits(t *testing.T) {
	wide := Result{Fields: []Field{{"a", 25}}}
	for range 100 {
		wide.Rows = append(wide.Rows, [][]byte{[]byte(strings.Repeat("x", 1000))})
	}
	for name, limits := range map[string]Limits{
		"rows":  {Depth: 20, Nodes: 1000, Statements: 1, Rows: 99, Work: 100_000, ResultBytes: 1 << 20},
		"bytes": {Depth: 20, Nodes: 1000, Statements: 1, Rows: 100, Work: 100_000, ResultBytes: 50_000},
		"work":  {Depth: 20, Nodes: 1000, Statements: 1, Rows: 100, Work: 99, ResultBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := Decode([]byte(`{"operation":"queryRaw","plan":{"type":"query","args":{"type":"rawSql","sql":"select","args":[],"argTypes":[]}},"params":{}}`), newestVersion, limits)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = request.Run(t.Context(), &replies{results: []Result{wide}}, false, nil); !isLimit(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
