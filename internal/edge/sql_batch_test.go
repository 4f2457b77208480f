// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func batchIsOneTransaction(t *testing.T, g *gate) {
	t.Helper()
	g.rows(t, "drop table if exists t")
	g.rows(t, "create table t (n int primary key deferrable initially deferred)")
	insert := query("insert into t values ($1)", 1)
	response, answer := g.post(t, g.asDriver(), batch(insert, query("select count(*), txid_current_if_assigned() is not null from t"), query("select pg_backend_pid() = pg_backend_pid()")))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", response.StatusCode, answer)
	}
	if got := strings.Count(answer, `"command"`); got != 3 || !strings.Contains(answer, `"rows":[["1","t"]]`) {
		t.Errorf("results: %s", answer)
	}
	for name, c := range map[string]struct {
		body any
		want problem
	}{
		"a statement fails":          {batch(query("insert into t values (2)"), query("select 1/0"), query("insert into t values (3)")), problem{400, "22012", "division by zero"}},
		"the commit fails":           {batch(query("insert into t values (2)"), insert), problem{400, "23505", `duplicate key value violates unique constraint "t_pkey"`}},
		"it commits by itself":       {batch(query("select 1"), query("commit"), query("insert into t values (2)")), problem{400, "2D000", "a statement of the batch ends the transaction that the batch is"}},
		"it rolls back by itself":    {batch(query("insert into t values (2)"), query("rollback"), query("insert into t values (3)")), problem{400, "2D000", "a statement of the batch ends the transaction that the batch is"}},
		"a savepoint is unknown":     {batch(query("insert into t values (2)"), query("rollback to savepoint s")), problem{400, "3B001", `savepoint "s" does not exist`}},
		"a statement is refused":     {batch(query("insert into t values (2)"), query("vacuum t")), problem{400, "25001", "VACUUM cannot run inside a transaction block"}},
		"a statement is several":     {batch(query("insert into t values (2)"), query("select 1; select 2")), problem{400, "42601", "cannot insert multiple commands into a prepared statement"}},
		"a statement copies":         {batch(query("insert into t values (2)"), query("copy t from stdin")), problem{400, "0A000", "COPY from or to the client does not work over HTTP"}},
		"one has no query, the last": {batch(query("insert into t values (2)"), map[string]any{}), problem{400, "08P01", "the body has no query"}},
	} {
		if diff := cmp.Diff(c.want, g.problem(t, g.asDriver(), c.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := g.rows(t, "select n from t"); got != `[["1"]]` {
			t.Errorf("%s: the table has %s", name, got)
		}
	}
	if _, answer := g.post(t, g.asDriver(), batch()); answer != `{"results":[]}` {
		t.Errorf("an empty batch: %s", answer)
	}
	saved := batch(query("savepoint s"), query("insert into t values (9)"), query("rollback to savepoint s"))
	if response, answer := g.post(t, g.asDriver(), saved); response.StatusCode != http.StatusOK {
		t.Errorf("savepoints: %s", answer)
	}
}

const (
	isolation  = "Neon-Batch-Isolation-Level"
	readOnly   = "Neon-Batch-Read-Only"
	deferrable = "Neon-Batch-Deferrable"
)

func batchHeadersSayWhatTransactionItIs(t *testing.T, g *gate) {
	t.Helper()
	show := batch(query("select current_setting('transaction_isolation'), current_setting('transaction_read_only'), current_setting('transaction_deferrable')"))
	for _, c := range []struct{ isolation, readOnly, deferrable, want string }{
		{"", "", "", `[["read committed","off","off"]]`},
		{"ReadUncommitted", "", "", `[["read uncommitted","off","off"]]`},
		{"ReadCommitted", "false", "false", `[["read committed","off","off"]]`},
		{"RepeatableRead", "true", "", `[["repeatable read","on","off"]]`},
		{"Serializable", "true", "true", `[["serializable","on","on"]]`},
	} {
		header, asked := g.asDriver(), map[string]string{isolation: c.isolation, readOnly: c.readOnly, deferrable: c.deferrable}
		for name, value := range asked {
			if value != "" {
				header.Set(name, value)
			}
		}
		response, answer := g.post(t, header, show)
		if !strings.Contains(answer, `"rows":`+c.want) {
			t.Errorf("%+v: %s", c, answer)
		}
		for name, value := range asked {
			if got := response.Header.Get(name); got != strings.TrimPrefix(value, "false") {
				t.Errorf("%+v: %s came back as %q", c, name, got)
			}
		}
	}
	header := with(g.asDriver(), readOnly, "true")
	if got := g.problem(t, header, batch(query("create table t (n int)"))); got.Code != "25006" {
		t.Errorf("a write in a read-only batch: %+v", got)
	}
}
