// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheGatewaySpeaksAsTheDriverExpects(t *testing.T) {
	g := aGate(t, aSite(t))
	for name, test := range map[string]func(*testing.T, *gate){
		"a statement's result is what the driver reads":         resultIsWhatTheDriverReads,
		"every command has its count":                           everyCommandHasItsCount,
		"rows come in the form that is asked for":               rowsComeInTheFormThatIsAskedFor,
		"browsers may ask from anywhere":                        browsersMayAskFromAnywhere,
		"every type comes as text, or as the JSON that fits it": everyTypeComesAsTextOrJSON,
		"parameters arrive as what they are":                    parametersArriveAsWhatTheyAre,
		"an error of the server has every field":                errorOfTheServerHasEveryField,
		"bad input is refused in PostgreSQL's terms":            badInputIsRefused,
		"limits say what they are, and end what runs":           limitsSayWhatTheyAre,
		"a batch is one transaction":                            batchIsOneTransaction,
		"a batch's headers say what transaction it is":          batchHeadersSayWhatTransactionItIs,
		"a client that goes away takes its statement with it":   clientThatGoesAway,
	} {
		t.Run(name, func(t *testing.T) { test(t, g) })
	}
}

func resultIsWhatTheDriverReads(t *testing.T, g *gate) {
	t.Helper()
	response, answer := g.post(t, g.asDriver(), query("select 1 as a, $1::varchar(9) as b, null as c", "x\"\\\n\u20ac"))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d", response.StatusCode)
	}
	equal(t, "answer", `{
		"fields":[
			{"name":"a","dataTypeID":23,"tableID":0,"columnID":0,"dataTypeSize":4,"dataTypeModifier":-1,"format":"text"},
			{"name":"b","dataTypeID":1043,"tableID":0,"columnID":0,"dataTypeSize":-1,"dataTypeModifier":13,"format":"text"},
			{"name":"c","dataTypeID":25,"tableID":0,"columnID":0,"dataTypeSize":-1,"dataTypeModifier":-1,"format":"text"}],
		"rows":[["1","x\"\\\n€",null]],"command":"SELECT","rowCount":1,"rowAsArray":true}`, answer)
}

func everyCommandHasItsCount(t *testing.T, g *gate) {
	t.Helper()
	g.rows(t, "drop table if exists t")
	for _, c := range []struct{ query, command, count, rows string }{
		{"create table t (n int, s text)", "CREATE", "null", "[]"},
		{"insert into t select n, n::text from generate_series(1, 3) n", "INSERT", "3", "[]"},
		{"insert into t values (4, null) returning n, s", "INSERT", "1", `[["4",null]]`},
		{"update t set s = 'x' where n > 2", "UPDATE", "2", "[]"},
		{"delete from t where n = 1", "DELETE", "1", "[]"},
		{"select n from t where n > 9", "SELECT", "0", "[]"},
		{"select n from t order by n", "SELECT", "3", `[["2"],["3"],["4"]]`},
		{"select", "SELECT", "1", "[[]]"},
		{"", "", "null", "[]"},
		{"-- nothing", "", "null", "[]"},
		{"set application_name = 'other'", "SET", "null", "[]"},
		{"show application_name", "SHOW", "null", `[[""]]`},
		{"explain (costs off) select 1", "EXPLAIN", "null", `[["Result"]]`},
	} {
		response, answer := g.post(t, g.asDriver(), query(c.query))
		if response.StatusCode != http.StatusOK {
			t.Errorf("%q: status %d: %s", c.query, response.StatusCode, answer)
			continue
		}
		got := []string{member(t, answer, "command"), member(t, answer, "rowCount"), member(t, answer, "rows")}
		if diff := cmp.Diff([]string{`"` + c.command + `"`, c.count, c.rows}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.query, diff)
		}
	}
}

func rowsComeInTheFormThatIsAskedFor(t *testing.T, g *gate) {
	t.Helper()
	const text = `select 1 as "a""b", true as b, 2::int8 as a, null::int as n`
	bare := http.Header{connectionString: {g.url()}}
	for name, c := range map[string]struct {
		header http.Header
		mode   any
		want   string
	}{
		"raw arrays":                         {g.asDriver(), nil, `[["1","t","2",null]]`},
		"raw objects":                        {with(bare, rawText, "true"), nil, `[{"a\"b":"1","b":"t","a":"2","n":null}]`},
		"typed arrays":                       {with(bare, arrayMode, "true"), nil, `[[1,true,"2",null]]`},
		"typed objects":                      {bare, nil, `[{"a\"b":1,"b":true,"a":"2","n":null}]`},
		"True is not true":                   {with(bare, rawText, "True"), nil, `[{"a\"b":1,"b":true,"a":"2","n":null}]`},
		"the body's arrays over the headers": {bare, true, `[[1,true,"2",null]]`},
		"the body's object over the headers": {g.asDriver(), false, `[{"a\"b":"1","b":"t","a":"2","n":null}]`},
	} {
		body := query(text)
		if c.mode != nil {
			body["arrayMode"] = c.mode
		}
		_, answer := g.post(t, c.header, body)
		if diff := cmp.Diff(c.want, member(t, answer, "rows")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got, want := member(t, answer, "rowAsArray"), strings.HasPrefix(c.want, "[["); (got == "true") != want {
			t.Errorf("%s: rowAsArray is %s", name, got)
		}
	}
}

func browsersMayAskFromAnywhere(t *testing.T, g *gate) {
	t.Helper()
	for method, status := range map[string]int{http.MethodOptions: 200, http.MethodGet: 405, http.MethodPut: 405} {
		r := g.request(t, nil, "")
		r.Method = method
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		got := []string{response.Header.Get("Allow"), response.Header.Get("Access-Control-Allow-Origin")}
		if diff := cmp.Diff([]string{"OPTIONS, POST", "*"}, got); diff != "" || response.StatusCode != status {
			t.Errorf("%s: status %d (-want +got):\n%s", method, response.StatusCode, diff)
		}
		if allowed := response.Header.Get("Access-Control-Allow-Headers"); status == 200 &&
			(!strings.Contains(allowed, "Neon-Connection-String") || !strings.Contains(allowed, "Neon-Batch-Deferrable")) {
			t.Errorf("allowed headers: %s", allowed)
		}
	}
}
