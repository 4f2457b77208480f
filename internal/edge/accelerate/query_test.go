// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
)

func TestAClientLearnsWhatItMayAskForAndAsksIt(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	got := r.send(t, r.request(t, http.MethodGet, "/connection-info", ""))
	if want := `{"provider":"postgres","connectionInfo":{"supportsRelationJoins":true}}`; got.Status != http.StatusOK || got.Body != want {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	r.rows(t, "insert into item values (1, $1)", "it's a näme")
	if got := r.rows(t, "select id, name from item"); !strings.Contains(got, "it's a näme") {
		t.Errorf("it reads %s", got)
	}
	if got := r.rows(t, "select current_setting('timezone') as z, current_setting('client_encoding') as e"); !strings.Contains(got, "UTC") || !strings.Contains(got, "UTF8") {
		t.Errorf("its session has %s", got)
	}
	duplicate := r.post(t, "/query", plan("queryRaw", "insert into item values (2, 'it''s a näme')"))
	if p := fails(t, duplicate); p.Status != http.StatusBadRequest || !strings.HasPrefix(p.Code, "P20") {
		t.Errorf("a duplicate: %+v", p)
	}
	if r.inTransaction(t) != "0" {
		t.Error("a transaction is open")
	}
}

func TestAnswersHaveTheTelemetryThatIsAskedFor(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	for path, body := range map[string]string{
		"/query": plan("queryRaw", "select 1 as n"), "/transaction/" + id + "/query": plan("queryRaw", "select 2 as n"),
		"/transaction/start": startBody, "/transaction/" + id + "/nothing": "", "/invalidate": `{"tags":"all"}`,
	} {
		got := r.post(t, path, body, "X-Capture-Telemetry", "query, tracing", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		var answer struct {
			Extensions *struct{ Logs, Spans []json.RawMessage }
		}
		if err := json.Unmarshal([]byte(got.Body), &answer); err != nil || answer.Extensions == nil {
			t.Errorf("%s has none: %s, %v", path, got.Body, err)
		}
		if path == "/query" && len(answer.Extensions.Logs) == 0 {
			t.Errorf("no statement is told of: %s", got.Body)
		}
	}
	if p := fails(t, r.post(t, "/query", plan("queryRaw", "select 1"), "X-Capture-Telemetry", "all")); p.Status != http.StatusBadRequest {
		t.Errorf("%+v", p)
	}
}

func TestAKeyOpensItsPoolAndNothingElse(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	r := aReplica(t, s)
	r.rows(t, "select 1 as n")
	for name, change := range map[string]func(*replica) []string{
		"none":              func(*replica) []string { return []string{"Authorization", ""} },
		"of another scheme": func(r *replica) []string { return []string{"Authorization", "Basic " + r.Key.String()} },
		"somebody else's":   func(*replica) []string { return []string{"Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"} },
		"cut": func(r *replica) []string {
			k := r.Key.String()
			return []string{"Authorization", "Bearer " + k[:len(k)-3]}
		},
		"a wrong password": func(r *replica) []string { r.Key.Password = "guess"; return nil },
		"an unknown user":  func(r *replica) []string { r.Key.User = "nobody"; return nil },
		"of another pool":  func(r *replica) []string { r.Key.Pool = "other"; return nil },
		"of elsewhere":     func(r *replica) []string { r.Key.Namespace = "elsewhere"; return nil },
	} {
		wrong := *r
		headers := change(&wrong)
		for _, path := range []string{"/query", "/transaction/start", "/transaction/alone-0/query", "/invalidate"} {
			p := fails(t, wrong.post(t, path, "{", headers...))
			if p.Status != http.StatusUnauthorized || p.Code != "P6002" || !strings.HasPrefix(p.Error, "The provided API Key is invalid. Reason: ") {
				t.Errorf("%s at %s: %+v", name, path, p)
			}
			if strings.Contains(p.Error, planPassword) || strings.Contains(p.Error, "guess") {
				t.Errorf("%s: it tells the password", name)
			}
		}
		if p := fails(t, wrong.send(t, wrong.request(t, http.MethodGet, "/connection-info", "", headers...))); p.Code != "P6002" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	r.Key.Database = "other"
	if p := fails(t, r.post(t, "/query", plan("queryRaw", "select 1"))); p.Status == http.StatusOK || strings.Contains(p.Error, planPassword) {
		t.Errorf("another database: %+v", p)
	}
}

func TestAKeyThatWasReplacedWorksNoLongerThanConnectionsAreKept(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	r := aReplica(t, s, func(h *accelerate.Handler) { h.Connections.Limits.For = 2 * time.Second })
	r.rows(t, "select 1 as n")
	s.Rendering.Config.Users[0].Password = "its successor"
	s.rewrite(t)
	eventually(t, "the old key is refused, however often it is used", func() bool {
		got := r.post(t, "/query", plan("queryRaw", "select 1 as n"))
		return got.Status == http.StatusUnauthorized && fails(t, got).Code == "P6002"
	})
	r.Key.Password = "its successor"
	r.rows(t, "select 1 as n")
}

func TestWhatCanNotBeServedIsRefusedWithWordsThatHelp(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	r := aReplica(t, s)
	small := aReplica(t, s, func(h *accelerate.Handler) { h.Limits.RequestBytes, h.Limits.ResultBytes = 2000, 3000 })
	hasty := aReplica(t, s, func(h *accelerate.Handler) { h.Limits.Timeout = 200 * time.Millisecond })
	busy := aReplica(t, s, func(h *accelerate.Handler) { h.Limiter.Caller = edge.CallerLimits{Rate: 0.0001, Burst: 1} })
	busy.rows(t, "select 1 as n")
	one := plan("queryRaw", "select 1 as n")
	for name, test := range map[string]struct {
		got    reply
		status int
		code   string
		words  string
	}{
		"no version":          {r.post(t, "/query", one, "Prisma-Engine-Hash", ""), 400, "P6006", "this gateway runs query plans of Prisma Client 6."},
		"an unknown version":  {r.post(t, "/query", one, "Prisma-Engine-Hash", "99.1.0"), 400, "P6006", "Prisma Client 99.1 is not supported: this gateway"},
		"no version at all":   {r.post(t, "/transaction/start", startBody, "Prisma-Engine-Hash", "cafe"), 400, "P6006", "of no version"},
		"an early version":    {r.send(t, r.request(t, http.MethodGet, "/connection-info", "", "Prisma-Engine-Hash", "5.0.0")), 400, "P6006", "Prisma Client 5.0 is not supported"},
		"no JSON":             {r.post(t, "/query", "{"), 400, "", ""},
		"no plan":             {r.post(t, "/query", `{"operation":"findMany","params":{}}`), 400, "", ""},
		"a deep plan":         {r.post(t, "/query", `{"operation":"findMany","params":{},"plan":`+strings.Repeat(`{"type":"seq","args":[`, 100_000)), 400, "", ""},
		"a long request":      {small.post(t, "/query", plan("queryRaw", "select '"+strings.Repeat("x", 2000)+"'")), 413, "P6000", "--max-request-bytes"},
		"a long request, too": {small.post(t, "/transaction/start", strings.Repeat(" ", 3000)), 413, "P6000", "--max-request-bytes"},
		"a large result":      {small.post(t, "/query", plan("queryRaw", "select repeat('x', 100000) as long")), 422, "P6009", "--max-result-bytes"},
		"a result just large": {small.post(t, "/query", plan("queryRaw", "select repeat('x', 3000) as long")), 422, "P6009", ""},
		"many rows":           {small.post(t, "/query", plan("queryRaw", "select n from generate_series(1, 1000000) n")), 422, "P6009", "--max-result-bytes"},
		"a slow query":        {hasty.post(t, "/query", plan("queryRaw", "select pg_sleep(600)")), 422, "P6004", "--request-timeout"},
		"too many requests":   {busy.post(t, "/query", one), 429, "P5011", "--caller-rate"},
		"an unknown path":     {r.post(t, "/transaction/x/y/z", "{}"), 404, "", "nothing at this path"},
		"another path":        {r.post(t, "/transaction/start/commit", "{}"), 409, "P2028", "Transaction not found"},
		"an unknown pool":     {r.post(t, "/query", one, "Host", "other."+planDomain), 404, "P6001", "serves no pool"},
		"a wrong method":      {r.send(t, r.request(t, http.MethodGet, "/query", "")), 405, "", "POST"},
		"a wrong method, too": {r.post(t, "/connection-info", ""), 405, "", "GET"},
		"the older protocol":  {r.post(t, legacyPath+"graphql", "{}"), 404, "", "nothing at this path"},
		"a wrong policy":      {r.post(t, "/query", one, "Cache-Control", "max-age=x"), 400, "P6005", "max-age"},
	} {
		p := fails(t, test.got)
		if p.Status != test.status || test.code != "" && p.Code != test.code || !strings.Contains(p.Error, test.words) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	eventually(t, "nothing is left running", func() bool { return r.inTransaction(t) == "0" })
}

func TestAPoolThatIsNotReadyIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	r := aReplica(t, s)
	s.Pool.Unready = "it has no budget"
	s.list()
	got := r.post(t, "/query", plan("queryRaw", "select 1"))
	want := problem{http.StatusServiceUnavailable, "P6008", "pool shop-web is not ready: it has no budget. The pool's conditions say more."}
	if diff := cmp.Diff(want, fails(t, got)); diff != "" || got.Header.Get("Retry-After") == "" {
		t.Errorf("%v (-want +got):\n%s", got.Header, diff)
	}
	s.Pool.Unready, s.Pool.Address = "", "127.0.0.1:1"
	s.list()
	if p := fails(t, r.post(t, "/query", plan("queryRaw", "select 1"))); p.Status != http.StatusServiceUnavailable || p.Code != "P6008" {
		t.Errorf("%+v", p)
	}
}

func TestAStrangersBodyIsNotRead(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	r.Key.Password = "guess"
	for _, path := range []string{"/query", "/transaction/start", "/transaction/alone-0/query", "/invalidate"} {
		request := r.request(t, http.MethodPost, path, "")
		body := &unread{}
		request.Body, request.ContentLength = body, -1
		answer := httptest.NewRecorder()
		r.Handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusUnauthorized || body.read {
			t.Errorf("%s: status %d, and its body was read: %v", path, answer.Code, body.read)
		}
	}
}

// unread is a body that notices whether it is read.
type unread struct{ read bool }

func (u *unread) Read([]byte) (int, error) { u.read = true; return 0, io.EOF }
func (*unread) Close() error               { return nil }

func TestARequestDoesNotFailBecauseAPoolerRestarted(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	r.rows(t, "select 1 as n")
	id := r.start(t, startBody)
	r.rowsIn(t, id, "select 1 as n")
	r.PgBouncer.Restart(t)
	r.rows(t, "select 1 as n")
	if p := fails(t, r.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1"))); p.Status < 400 {
		t.Errorf("a transaction went on: %+v", p)
	}
	if p := fails(t, r.post(t, "/transaction/"+id+"/commit", "")); p.Code != "P2028" {
		t.Errorf("a transaction that was lost is committed: %+v", p)
	}
	if got := r.Handler.Transactions.Open(); got != 0 {
		t.Errorf("%d are open", got)
	}
}

// Prisma's own driver takes several statements in a raw text without parameters.
func TestARawTextMayHoldSeveralStatements(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	if got := r.rows(t, "insert into item values (1, 'one'); insert into item values (2, 'two')"); got != `{"columns":[],"types":[],"rows":[]}` {
		t.Errorf("two statements give %s", got)
	}
	if got := r.names(t); got != "one two" {
		t.Errorf("there are %q", got)
	}
	got := r.post(t, "/query", plan("queryRaw", "insert into item values (3, 'three'); insert into item values (1, 'again')"))
	if p := fails(t, got); p.Status != http.StatusBadRequest || r.names(t) != "one two" {
		t.Errorf("the second of two fails: %+v, and there are %q", p, r.names(t))
	}
	left := r.post(t, "/query", plan("queryRaw", "begin; insert into item values (4, 'four')"))
	if got := r.inTransaction(t); left.Status != http.StatusOK || got != "0" || r.names(t) != "one two" {
		t.Errorf("a transaction that is left open: %+v, %s open, and there are %q", left, got, r.names(t))
	}
	if p := fails(t, r.post(t, "/query", plan("queryRaw", "select 1; copy item from stdin"))); p.Status < 400 {
		t.Errorf("a COPY: %+v", p)
	}
	if got := r.rows(t, "select name from item where id = 2"); !strings.Contains(got, "two") {
		t.Errorf("what comes after reads %s", got)
	}
}
