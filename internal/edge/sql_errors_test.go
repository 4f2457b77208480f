// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// problem is what an error says that a caller acts on.
type problem struct {
	Status        int
	Code, Message string
}

func (g *gate) problem(t testing.TB, header http.Header, body any) problem {
	t.Helper()
	response, answer := g.post(t, header, body)
	for _, secret := range []string{clientPassword, serverPassword, "s3cret"} {
		if strings.Contains(answer, secret) {
			t.Errorf("the answer has a password in it: %s", answer)
		}
	}
	p := problem{Status: response.StatusCode}
	if err := json.Unmarshal([]byte(answer), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func errorOfTheServerHasEveryField(t *testing.T, g *gate) {
	t.Helper()
	g.rows(t, "drop table if exists t")
	g.rows(t, "create table t (n int constraint positive check (n > 0), m int not null, unique (n))")
	g.rows(t, "insert into t values (1, 1)")
	for text, want := range map[string]string{
		"insert into t values (1, 1)": `{"message":"duplicate key value violates unique constraint \"t_n_key\"","severity":"ERROR","code":"23505",
			"detail":"Key (n)=(1) already exists.","hint":null,"position":null,"internalPosition":null,"internalQuery":null,"where":null,
			"schema":"public","table":"t","column":null,"dataType":null,"constraint":"t_n_key"}`,
		"insert into t values (2)": `{"message":"null value in column \"m\" of relation \"t\" violates not-null constraint","severity":"ERROR","code":"23502",
			"detail":"Failing row contains (2, null).","hint":null,"position":null,"internalPosition":null,"internalQuery":null,"where":null,
			"schema":"public","table":"t","column":"m","dataType":null,"constraint":null}`,
		"select upper(n) from t": `{"message":"function upper(integer) does not exist","severity":"ERROR","code":"42883",
			"detail":null,"hint":"No function matches the given name and argument types. You might need to add explicit type casts.",
			"position":"8","internalPosition":null,"internalQuery":null,"where":null,
			"schema":null,"table":null,"column":null,"dataType":null,"constraint":null}`,
		"do $$ begin execute 'select nowhere'; end $$": `{"message":"column \"nowhere\" does not exist","severity":"ERROR","code":"42703",
			"detail":null,"hint":null,"position":null,"internalPosition":"8","internalQuery":"select nowhere",
			"where":"PL/pgSQL function inline_code_block line 1 at EXECUTE",
			"schema":null,"table":null,"column":null,"dataType":null,"constraint":null}`,
	} {
		response, answer := g.post(t, g.asDriver(), query(text))
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", text, response.StatusCode)
		}
		got := map[string]any{}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		for _, place := range []string{"file", "line", "routine"} { // They change with the server's release.
			if value, ok := got[place].(string); !ok || value == "" {
				t.Errorf("%s: %s is %v", text, place, got[place])
			}
			delete(got, place)
		}
		rest, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, text, want, string(rest))
	}
	if got := g.rows(t, "select count(*) from t"); got != `[["1"]]` {
		t.Errorf("there are %s rows", got)
	}
}

func badInputIsRefused(t *testing.T, g *gate) {
	t.Helper()
	ok := g.asDriver()
	as := func(login string) http.Header { return with(ok, connectionString, "postgresql://"+login) }
	host := g.host()
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for name, c := range map[string]struct {
		header http.Header
		body   any
		want   problem
	}{
		"no connection string":      {http.Header{}, query("select 1"), problem{400, "08P01", "there is no Neon-Connection-String header"}},
		"two connection strings":    {http.Header{connectionString: {g.url(), g.url()}}, query("select 1"), problem{400, "08P01", "there is more than one Neon-Connection-String header"}},
		"a word":                    {with(ok, connectionString, "s3cret"), query("select 1"), problem{400, "08P01", "the connection string is not a URL that begins with postgresql://"}},
		"another scheme":            {with(ok, connectionString, "mysql://app:s3cret@"+host+"/shop"), query("select 1"), problem{400, "08P01", "the connection string is not a URL that begins with postgresql://"}},
		"a bad escape":              {as("app:s3cret%zz@" + host + "/shop"), query("select 1"), problem{400, "08P01", "the connection string is not a URL that begins with postgresql://"}},
		"a bad port":                {as("app:s3cret@" + host + ":x/shop"), query("select 1"), problem{400, "08P01", "the connection string is not a URL that begins with postgresql://"}},
		"no host":                   {as("app:s3cret@/shop"), query("select 1"), problem{400, "08P01", "the connection string names no host"}},
		"no user":                   {as(host + "/shop"), query("select 1"), problem{400, "08P01", "the connection string names no user"}},
		"no password":               {as("app@" + host + "/shop"), query("select 1"), problem{400, "08P01", "the connection string has no password"}},
		"no database":               {as("app:s3cret@" + host), query("select 1"), problem{400, "08P01", "the connection string names no database"}},
		"a zero byte in it":         {as("app:s3cret@" + host + "/shop%00x"), query("select 1"), problem{400, "08P01", "the connection string has a zero byte"}},
		"a long one":                {as("app:" + strings.Repeat("x", 5000) + "@" + host + "/shop"), query("select 1"), problem{400, "08P01", "the connection string is too long"}},
		"a token":                   {with(as("app@"+host+"/shop"), "Authorization", "Bearer s3cret"), query("select 1"), problem{400, "08P01", "the gateway takes a password in the connection string, and no authToken"}},
		"an unknown pool":           {as("app:s3cret@other." + domain + "/shop"), query("select 1"), problem{404, "08004", `the gateway serves no pool at "other.edge.test"`}},
		"another domain":            {as("app:s3cret@shop-web.example.com/shop"), query("select 1"), problem{404, "08004", `the gateway serves no pool at "shop-web.example.com"`}},
		"the pooler's own address":  {as("app:s3cret@" + g.Pool.Address + "/shop"), query("select 1"), problem{404, "08004", `the gateway serves no pool at "127.0.0.1"`}},
		"no JSON":                   {ok, "select 1", problem{400, "08P01", "the body is not JSON: invalid character 's' looking for beginning of value"}},
		"half of it":                {ok, `{"query":"select 1"`, problem{400, "08P01", "the body is not JSON: unexpected end of JSON input"}},
		"two values":                {ok, `{"query":"select 1"} {}`, problem{400, "08P01", "the body is not JSON: invalid character '{' after top-level value"}},
		"nothing":                   {ok, "", problem{400, "08P01", "the body is not JSON: unexpected end of JSON input"}},
		"an array":                  {ok, "[]", problem{400, "08P01", `the body's "whole" is a JSON array, which it can not be`}},
		"no query":                  {ok, "{}", problem{400, "08P01", "the body has no query"}},
		"no query in a batch":       {ok, `{"queries":[{"params":[]}]}`, problem{400, "08P01", "the body has no query"}},
		"a query that is a number":  {ok, `{"query":7}`, problem{400, "08P01", `the body's "query" is a JSON number, which it can not be`}},
		"parameters that are text":  {ok, `{"query":"select 1","params":"x"}`, problem{400, "08P01", `the body's "params" is a JSON string, which it can not be`}},
		"a zero byte in the query":  {ok, query("select 1\x00; drop"), problem{400, "22021", "the query has a zero byte"}},
		"a zero byte in a value":    {ok, query("select $1::text", "a\x00b"), problem{400, "22021", `invalid byte sequence for encoding "UTF8": 0x00`}},
		"deep nesting":              {ok, `{"query":"select $1","params":[` + deep + `]}`, problem{400, "08P01", "the body is not JSON: invalid character '[' exceeded max depth"}},
		"an array too deep":         {ok, query("select $1::int[]", json.RawMessage("[[[[[[[1]]]]]]]")), problem{400, "54000", "a parameter is an array of more than 6 dimensions"}},
		"an array with holes":       {ok, query("select $1::int[]", json.RawMessage("[[1],[2,3]]")), problem{400, "22P02", `malformed array literal: "{{1},{2,3}}"`}},
		"too many parameters":       {ok, query("select 1", make([]any, 65536)...), problem{400, "54000", "the query has 65536 parameters; PostgreSQL takes 65535"}},
		"a parameter too few":       {ok, query("select $1::int"), problem{400, "08P01", "bind message supplies 0 parameters, but prepared statement \"\" requires 1"}},
		"a parameter of wrong type": {ok, query("select $1::int", "x"), problem{400, "22P02", `invalid input syntax for type integer: "x"`}},
		"two statements":            {ok, query("select 1; select 2"), problem{400, "42601", "cannot insert multiple commands into a prepared statement"}},
		"COPY from the client":      {ok, query("copy pg_class from stdin"), problem{400, "42501", "permission denied for table pg_class"}},
		"COPY to the client":        {ok, query("copy (select 1) to stdout"), problem{400, "0A000", "COPY from or to the client does not work over HTTP"}},
		"an isolation level":        {with(ok, "Neon-Batch-Isolation-Level", "Chaos"), batch(query("select 1")), problem{400, "08P01", "Neon-Batch-Isolation-Level is none of ReadUncommitted, ReadCommitted, RepeatableRead and Serializable"}},
		"read-only, misspelt":       {with(ok, "Neon-Batch-Read-Only", "True"), batch(query("select 1")), problem{400, "08P01", "Neon-Batch-Read-Only is neither true nor false"}},
	} {
		got := g.problem(t, c.header, c.body)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	g.rows(t, "create table own (n int)")
	if got := g.problem(t, ok, query("copy own from stdin")); got.Code != "0A000" {
		t.Errorf("COPY FROM STDIN: %+v", got)
	}
	g.rows(t, "select 1")
}

func TestAPoolThatServesNobodySaysSo(t *testing.T) {
	g := aGate(t, aSite(t))
	g.Pool.Unready = "WaitingForRelease"
	g.list()
	if diff := cmp.Diff(problem{503, "57P03", "pool shop-web is not ready: WaitingForRelease"}, g.problem(t, g.asDriver(), query("select 1"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	g.Pool.Unready, g.Pool.Address = "", "127.0.0.1:1"
	g.list()
	if got := g.problem(t, g.asDriver(), query("select 1")); got.Status != http.StatusServiceUnavailable {
		t.Errorf("a pooler that is not there: %+v", got)
	}
	g.Pool.MaxConcurrency = 0
	g.list()
	if got := g.problem(t, g.asDriver(), query("select 1")); got.Status != http.StatusTooManyRequests || got.Code != "53300" {
		t.Errorf("one request too many: %+v", got)
	}
}

func limitsSayWhatTheyAre(t *testing.T, g *gate) {
	t.Helper()
	small := aGate(t, g.site, func(h *edge.HTTP) { h.Limits.RequestBytes, h.Limits.ResultBytes = 2000, 3000 })
	hasty := aGate(t, g.site, func(h *edge.HTTP) { h.Limits.Timeout = 100 * time.Millisecond })
	g.rows(t, "drop table if exists t")
	g.rows(t, "create table t (n int)")
	insert := query("insert into t values (1)")
	stalled := hasty.request(t, g.asDriver(), "")
	stalled.Body, stalled.ContentLength = io.NopCloser(stalledBody{t.Context()}), 1000
	response, err := http.DefaultClient.Do(stalled)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a request that never comes to its end has status %d", response.StatusCode)
	}
	for name, c := range map[string]struct {
		gate *gate
		body any
		want problem
	}{
		"a large request":  {small, query("select $1", strings.Repeat("x", 3000)), problem{413, "54000", "the request has more than 2000 bytes, as many as the gateway takes"}},
		"many rows":        {small, query("select generate_series(1, 1000000000)"), problem{507, "54000", "the result has more than 3000 bytes, as many as the gateway returns"}},
		"a long row":       {small, query("select repeat('x', 10000000)"), problem{507, "54000", "the result has more than 3000 bytes, as many as the gateway returns"}},
		"rows of a batch":  {small, batch(insert, query("select repeat('x', 2000)"), query("select repeat('x', 2000)")), problem{507, "54000", "the result has more than 3000 bytes, as many as the gateway returns"}},
		"a slow statement": {hasty, query("select pg_sleep(1000)"), problem{504, "57014", "the request took longer than 100ms, and was cancelled"}},
		"a slow batch":     {hasty, batch(insert, query("select pg_sleep(1000)")), problem{504, "57014", "the request took longer than 100ms, and was cancelled"}},
	} {
		if diff := cmp.Diff(c.want, c.gate.problem(t, g.asDriver(), c.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	eventually(t, "nothing runs at the server", func() bool { return g.busy(t, "") == 0 })
	if got := g.rows(t, "select count(*) from t"); got != `[["0"]]` {
		t.Errorf("%s rows of batches that failed", got)
	}
}

// stalledBody comes when the test ends.
type stalledBody struct{ test context.Context }

func (b stalledBody) Read([]byte) (int, error) {
	<-b.test.Done()
	return 0, io.EOF
}

// busy counts the pool's server connections that run something with the text in it.
func (s *site) busy(t testing.TB, text string) int {
	t.Helper()
	n := 0
	for _, backend := range s.Postgres.Backends(t) {
		if backend.User == "owner" && backend.State != "idle" && strings.Contains(backend.Query, text) {
			n++
		}
	}
	return n
}

func clientThatGoesAway(t *testing.T, g *gate) {
	t.Helper()
	for _, body := range []any{query("select pg_sleep(1000)"), batch(query("select 1"), query("select pg_sleep(1000)"))} {
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			response, err := http.DefaultClient.Do(g.request(t, g.asDriver(), body).WithContext(ctx))
			if err == nil {
				t.Errorf("a statement that sleeps has status %d", response.StatusCode)
				_ = response.Body.Close()
			}
		}()
		eventually(t, "the statement runs", func() bool { return g.busy(t, "pg_sleep") == 1 })
		leave()
		<-ended
		eventually(t, "nothing runs at the server", func() bool { return g.busy(t, "") == 0 })
	}
	g.rows(t, "select 1")
}

func TestCancelRequestsAreEncryptedToo(t *testing.T) {
	clientThatGoesAway(t, aGate(t, aSite(t, encrypted)))
}
