// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
)

// Words of Prisma's transaction manager, which applications see.
const (
	isUnknown   = "Transaction API error: Transaction not found. Transaction ID is invalid, refers to an old closed transaction Prisma doesn't have information about anymore, or was obtained before disconnecting."
	isCommitted = "Transaction API error: Transaction already closed: A query cannot be executed on a committed transaction."
	isUndone    = "Transaction API error: Transaction already closed: A query cannot be executed on a transaction that was rolled back."
	isLate      = "Transaction API error: Unable to start a transaction in the given time."
)

func closed(words string) problem { return problem{http.StatusConflict, "P2028", words} }

func TestATransactionTakesEffectWhenItIsCommitted(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	for end, want := range map[string]struct{ names, later string }{
		"rollback": {"", isUndone}, "commit": {"a b", isCommitted},
	} {
		id := r.start(t, `{"maxWait":60000,"timeout":15000,"isolationLevel":"SERIALIZABLE"}`)
		if got := r.rowsIn(t, id, "select current_setting('transaction_isolation') as level"); !strings.Contains(got, "serializable") {
			t.Errorf("its isolation is %s", got)
		}
		r.rowsIn(t, id, "insert into item values (1, 'a'), (2, 'b')")
		if got := r.rowsIn(t, id, "select count(*)::int as n from item"); !strings.Contains(got, "2") {
			t.Errorf("it does not see its own rows but %s", got)
		}
		if got := r.names(t); got != "" {
			t.Errorf("others see %s", got)
		}
		if got := r.post(t, "/transaction/"+id+"/"+end, ""); got.Status != http.StatusOK || got.Body != "{}" {
			t.Errorf("%s: status %d: %s", end, got.Status, got.Body)
		}
		if got := r.names(t); got != want.names {
			t.Errorf("after %s there is %q", end, got)
		}
		if diff := cmp.Diff(closed(want.later), fails(t, r.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1")))); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", end, diff)
		}
		if r.inTransaction(t) != "0" || r.Handler.Transactions.Open() != 0 {
			t.Errorf("after %s something is open", end)
		}
		if end == "commit" {
			r.rows(t, "delete from item")
		}
	}
}

func TestATransactionThatIsUnknownOrSomebodyElsesIsNotFound(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	other := *r
	other.Key.User, other.Key.Password = "second", "another"
	for name, got := range map[string]reply{
		"of another key":    other.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1")),
		"unknown":           r.post(t, "/transaction/alone-00000000000000000000000000000000/commit", ""),
		"of nobody":         r.post(t, "/transaction/0a0000007-00000000000000000000000000000000/commit", ""),
		"without a replica": r.post(t, "/transaction/00000000000000000000000000000000/commit", ""),
		"of a nested one":   other.post(t, "/transaction/start", `{"maxWait":2000,"timeout":5000,"newTxId":"`+id+`"}`),
	} {
		if diff := cmp.Diff(closed(isUnknown), fails(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	other.Key.Password = "guess"
	if got := fails(t, other.post(t, "/transaction/"+id+"/commit", "")); got.Status != http.StatusUnauthorized || got.Code != "P6002" {
		t.Errorf("a wrong key: %+v", got)
	}
	r.rowsIn(t, id, "select 1 as n")
	r.commit(t, id)
	other.Key = r.Key
	if got := fails(t, other.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1"))); got != closed(isCommitted) {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestATransactionThatTakesTooLongIsRolledBack(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	expired := func(operation string, got problem) {
		t.Helper()
		want := "Transaction API error: A " + operation + " cannot be executed on an expired transaction. The timeout for this transaction was 200 ms, however "
		if got.Status != http.StatusConflict || got.Code != "P2028" || !strings.HasPrefix(got.Error, want) {
			t.Errorf("%+v", got)
		}
	}
	id := r.start(t, `{"maxWait":60000,"timeout":200}`)
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	expired("query", fails(t, r.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select pg_sleep(60)"))))
	expired("commit", fails(t, r.post(t, "/transaction/"+id+"/commit", "")))
	eventually(t, "nothing is open", func() bool { return r.inTransaction(t) == "0" && r.Handler.Transactions.Open() == 0 })

	id = r.start(t, `{"maxWait":60000,"timeout":200}`)
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	eventually(t, "nobody's transaction ends", func() bool { return r.inTransaction(t) == "0" && r.Handler.Transactions.Open() == 0 })
	expired("rollback", fails(t, r.post(t, "/transaction/"+id+"/rollback", "")))
	if got := r.names(t); got != "" {
		t.Errorf("there is %q", got)
	}
}

func TestATransactionDoesNotWaitLongerThanItMayToBegin(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t, func(s *shop) { s.Rendering.Limits["shop"] = 1 }))
	first := r.start(t, startBody)
	if got := fails(t, r.post(t, "/transaction/start", `{"maxWait":200,"timeout":5000}`)); got != closed(isLate) {
		t.Errorf("%+v", got)
	}
	r.commit(t, first)
	r.commit(t, r.start(t, startBody))
	if got := r.Handler.Transactions.Open(); got != 0 {
		t.Errorf("%d are open", got)
	}
}

func TestATransactionEndsAsItsClientWantsWhenItsPoolIsNotReadyAnyMore(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	r := aReplica(t, s)
	id := r.start(t, startBody)
	s.Pool.Unready = "its poolers are on their way"
	s.list()
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	r.commit(t, id)
	if got := s.names(t); got != "a" {
		t.Errorf("there is %q", got)
	}
	if p := fails(t, r.post(t, "/transaction/start", startBody)); p.Code != "P6008" {
		t.Errorf("%+v", p)
	}
}

func TestTransactionsNest(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	nested := `{"maxWait":2000,"timeout":5000,"newTxId":"` + id + `"}`
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	for i, end := range []string{"rollback", "commit"} {
		if inner := r.start(t, nested); inner != id {
			t.Errorf("the inner one is %s, the outer %s", inner, id)
		}
		r.rowsIn(t, id, "insert into item values ("+strings.Repeat("2", i+1)+", '"+end+"')")
		if got := r.post(t, "/transaction/"+id+"/"+end, ""); got.Status != http.StatusOK {
			t.Errorf("%s: %s", end, got.Body)
		}
	}
	r.commit(t, id)
	if got := r.names(t); got != "a commit" {
		t.Errorf("there is %q", got)
	}
}

func TestRequestsOfOneTransactionTakeTurns(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	r.rowsIn(t, id, "insert into item values (1, '')")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			got := r.post(t, "/transaction/"+id+"/query", plan("queryRaw", "update item set name = name || 'x' || pg_sleep(0.001)"))
			if got.Status != http.StatusOK {
				t.Errorf("%d: %s", got.Status, got.Body)
			}
		})
	}
	all.Wait()
	r.commit(t, id)
	if got := r.names(t); got != strings.Repeat("x", 20) {
		t.Errorf("there is %q", got)
	}
}

func TestAClientThatVanishesLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	for name, path := range map[string]func() string{
		"in a transaction": func() string { return "/transaction/" + r.start(t, startBody) + "/query" },
		"outside of one":   func() string { return "/query" },
	} {
		ctx, vanish := context.WithCancel(t.Context())
		request := r.request(t, http.MethodPost, path(), plan("queryRaw", "select pg_sleep(600)")).WithContext(ctx)
		gone := make(chan error, 1)
		go func() {
			response, err := r.Client.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			gone <- err
		}()
		busy := "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and usename = 'owner'"
		eventually(t, name+" the statement runs", func() bool { return r.Postgres.Ask(t, busy) == "1" })
		vanish()
		if <-gone == nil {
			t.Errorf("%s there is an answer", name)
		}
		eventually(t, name+" nothing is open", func() bool { return r.inTransaction(t) == "0" && r.Handler.Transactions.Open() == 0 })
	}
	r.rows(t, "select 1 as n")
}

func TestOnlySoManyTransactionsAreOpen(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	for name, change := range map[string]func(*accelerate.TransactionLimits){
		"of a pool":   func(l *accelerate.TransactionLimits) { l.PerPool = 2 },
		"of a caller": func(l *accelerate.TransactionLimits) { l.PerCaller = 2 },
	} {
		r := aReplica(t, s, func(h *accelerate.Handler) { change(&h.Transactions.Limits) })
		first := r.start(t, startBody)
		second := r.start(t, startBody)
		got := r.post(t, "/transaction/start", startBody)
		if p := fails(t, got); p.Status != http.StatusTooManyRequests || p.Code != "P5011" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", name, p)
		}
		r.commit(t, first)
		r.commit(t, r.start(t, startBody))
		r.commit(t, second)
	}
}

func TestAStartThatCanNotBeIsRefused(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	for body, want := range map[string]problem{
		`{"maxWait":2000,"timeout":0}`:                                    closed("Transaction API error: timeout is required"),
		`{"maxWait":2000,"timeout":-1}`:                                   closed("Transaction API error: timeout is required"),
		`{"timeout":5000}`:                                                closed("Transaction API error: maxWait is required"),
		`{"maxWait":2000,"timeout":5000,"isolationLevel":"SNAPSHOT"}`:     closed("Transaction API error: Invalid isolation level: SNAPSHOT"),
		`{"maxWait":2000,"timeout":5000,"isolationLevel":"; drop table"}`: {http.StatusBadRequest, "P6005", "the isolationLevel is none that there is"},
		`{"maxWait":"x"}`:                                                 {http.StatusBadRequest, "P6005", "the body is no JSON object that a transaction starts with"},
		``:                                                                {http.StatusBadRequest, "P6005", "the body is no JSON object that a transaction starts with"},
	} {
		if diff := cmp.Diff(want, fails(t, r.post(t, "/transaction/start", body))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	for _, body := range []string{`{"maxWait":1e300,"timeout":1e300}`, `{"maxWait":2000.5}`} {
		r.commit(t, r.start(t, body))
	}
	if r.inTransaction(t) != "0" || r.Handler.Transactions.Open() != 0 {
		t.Error("something is open")
	}
}

func TestTheGatewayEndsWhenTransactionsAreDone(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		r.Handler.Transactions.Drain(t.Context())
	}()
	eventually(t, "no more begin", func() bool {
		got := r.post(t, "/transaction/start", startBody)
		if id := got.Header.Get("Prisma-Transaction-Id"); id != "" {
			r.commit(t, id)
			return false
		}
		return fails(t, got).Code == "P6008"
	})
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	r.commit(t, id)
	<-drained
	if got := r.names(t); got != "a" {
		t.Errorf("there is %q", got)
	}
}

func TestWhatIsOpenWhenTheGatewayCanNotWaitAnyLongerIsRolledBack(t *testing.T) {
	t.Parallel()
	r := aReplica(t, aShop(t))
	id := r.start(t, startBody)
	r.rowsIn(t, id, "insert into item values (1, 'a')")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r.Handler.Transactions.Drain(ctx)
	if r.inTransaction(t) != "0" || r.Handler.Transactions.Open() != 0 {
		t.Error("something is open")
	}
	if got := fails(t, r.post(t, "/transaction/"+id+"/query", plan("queryRaw", "select 1"))); got != closed(isUndone) {
		t.Errorf("%+v", got)
	}
}
