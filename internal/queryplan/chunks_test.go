// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// template is a statement of fragments, JSON, with arguments and their types.
func templateOf(kind, fragments, args, types, chunkable string) string {
	return `{"type":"` + kind + `","args":{"type":"templateSql","placeholderFormat":{"prefix":"$","hasNumbering":true},"fragments":[` +
		fragments + `],"args":[` + args + `],"argTypes":[` + types + `],"chunkable":` + chunkable + `}}`
}

const (
	intType = `{"arity":"scalar","scalarType":"int","dbType":"INTEGER"}`
	tuple   = `{"type":"parameterTuple","itemPrefix":"","itemSeparator":",","itemSuffix":""}`
	tuples  = `{"type":"parameterTupleList","itemPrefix":"(","itemSeparator":",","itemSuffix":")","groupSeparator":","}`
)

func chunk(sql string) string { return `{"type":"stringChunk","chunk":"` + sql + `"}` }

func numbersTo(count int) string {
	numbers := make([]string, count)
	for i := range numbers {
		numbers[i] = strconv.Itoa(i)
	}
	return "[" + strings.Join(numbers, ",") + "]"
}

func TestTemplatesBecomeSQL(t *testing.T) {
	for name, test := range map[string]struct{ plan, sql, params string }{
		"parameters": {
			templateOf("query", chunk("select ")+`,{"type":"parameter"},`+chunk(", ")+`,{"type":"parameter"}`, `1,"a"`, intType+","+intType, "true"),
			"select $1, $2", "1 a",
		},
		"a tuple":                {templateOf("query", chunk("in ")+","+tuple, `[1,2,3]`, intType, "true"), "in ($1,$2,$3)", "1 2 3"},
		"an empty tuple":         {templateOf("query", chunk("in ")+","+tuple, `[]`, intType, "true"), "in (NULL)", ""},
		"a tuple of one":         {templateOf("query", chunk("in ")+","+tuple, `7`, intType, "true"), "in ($1)", "7"},
		"a tuple of before 7.5":  {templateOf("query", chunk("in ")+`,{"type":"parameterTuple"}`, `[1,2]`, intType, "true"), "in ($1,$2)", "1 2"},
		"a tuple with its marks": {templateOf("query", chunk("in ")+`,{"type":"parameterTuple","itemPrefix":"<","itemSeparator":";","itemSuffix":">"}`, `[1,2]`, intType, "true"), "in (<$1>;<$2>)", "1 2"},
		"tuples": {
			templateOf("query", chunk("values ")+","+tuples, `[[1,2],[3,4]]`, `{"arity":"tuple","elements":[`+intType+`,`+intType+`]}`, "true"),
			"values ($1,$2),($3,$4)", "1 2 3 4",
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &replies{}
			if _, err := runPlan(t, conn, test.plan, `{}`); err != nil {
				t.Fatal(err)
			}
			var params []string
			for _, param := range conn.params[0] {
				params = append(params, string(param))
			}
			if got := strings.Join(params, " "); conn.sent[0] != test.sql || got != test.params {
				t.Errorf("got %s with %s", conn.sent[0], got)
			}
		})
	}
}

func TestTemplatesThatDoNotFitTheirArgumentsFail(t *testing.T) {
	for fragments, args := range map[string]string{`{"type":"parameter"}`: ``, tuples: `1`, tuples + `,` + chunk(""): `[]`, chunk("") + `,` + tuples: `[1]`} {
		if _, err := runPlan(t, &replies{}, templateOf("query", fragments, args, intType, "true"), `{}`); ErrorOf(err).Status != 500 {
			t.Errorf("%s with %s gives %v", fragments, args, err)
		}
	}
}

func TestStatementsOfTooManyParametersAreSplit(t *testing.T) {
	row := Result{Fields: []Field{{"id", 23}}, Rows: [][][]byte{{[]byte("1")}}, RowsAffected: 10}
	conn := &replies{results: []Result{row}}
	got, err := runPlan(t, conn, templateOf("query", `{"type":"parameter"},`+tuple, `9,`+numbersTo(70_000), intType+","+intType, "true"), `{}`)
	if err != nil || got != `[{"id":1},{"id":1},{"id":1}]` {
		t.Errorf("got %s, %v", got, err)
	}
	if len(conn.sent) != 5 || conn.sent[0] != "BEGIN" || conn.sent[4] != "COMMIT" {
		t.Fatalf("%d statements were sent", len(conn.sent))
	}
	for i, want := range []int{0, 32766, 32766, 70_000 - 2*32765 + 1, 0} {
		if got := len(conn.params[i]); got != want {
			t.Errorf("statement %d has %d parameters, want %d", i, got, want)
		}
	}
}

func TestTuplesAreSplitWhole(t *testing.T) {
	pairs := "[" + strings.TrimSuffix(strings.Repeat("[1,2,3],", 20_000), ",") + "]"
	conn := &replies{results: []Result{{}, {RowsAffected: 10}}}
	got, err := runPlan(t, conn, templateOf("execute", tuples, pairs, `{"arity":"tuple","elements":[`+intType+`,`+intType+`,`+intType+`]}`, "true"), `{}`)
	if err != nil || got != `20` || len(conn.sent) != 4 || len(conn.params[1]) != 32766 {
		t.Errorf("got %s, %v of %d statements", got, err, len(conn.sent))
	}
}

func TestStatementsThatCannotBeSplitTakeAsManyParametersAsPostgreSQL(t *testing.T) {
	for count, code := range map[int]string{65_535: "", 65_536: "P2029"} {
		conn := &replies{}
		_, err := runPlan(t, conn, templateOf("query", tuple, numbersTo(count), intType, "false"), `{}`)
		if code == "" && err != nil || code != "" && ErrorOf(err).Code != code {
			t.Errorf("%d parameters give %v", count, err)
		}
	}
}

func TestAPartThatFailsUndoesTheOthers(t *testing.T) {
	broken := errors.New("broken")
	conn := &replies{errs: map[string]error{}}
	plan := templateOf("execute", tuple, numbersTo(40_000), intType, "true")
	if _, err := runPlan(t, conn, plan, `{}`); err != nil {
		t.Fatal(err)
	}
	again := &replies{errs: map[string]error{conn.sent[2]: broken}}
	if _, err := runPlan(t, again, plan, `{}`); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if last := again.sent[len(again.sent)-1]; last != "ROLLBACK" {
		t.Errorf("the last statement is %s", last)
	}
}
