// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var soakTransactions = flag.Int("edge.transactions", 300, "how many interactive transactions the soak begins")

const (
	// soakAtOnce are begun at any time, over all gateways, and soakServers is how many
	// server connections PgBouncer may have.
	soakAtOnce  = 24
	soakServers = 8
	// patientBody is of a client that stays, and hastyBody of one that does not: nobody
	// can tell that it has gone but by the time it takes.
	patientBody = `{"maxWait":60000,"timeout":60000}`
	hastyBody   = `{"maxWait":60000,"timeout":300}`
)

// TestTransactionsOfClientsThatVanishLeaveNothing begins many interactive transactions,
// each of whose requests reaches any replica. A third of the clients vanish at some point.
// All others' transactions end as they should, and no more server connections are used
// than there may be.
func TestTransactionsOfClientsThatVanishLeaveNothing(t *testing.T) {
	s := aShop(t, func(s *shop) { s.Rendering.Limits["shop"] = soakServers })
	first, second := twoGateways(t, s)
	k := &transactionSoak{shop: s, gateways: []*gateway{first, second}, ended: map[int]ending{}}
	k.own = s.Postgres.Ask(t, "select array_agg(pid) from pg_stat_activity where usename = 'owner'")
	for _, g := range k.gateways {
		g.Handler.Transactions.Limits.Timeout, g.Handler.Transactions.Limits.MaxWait = planPatience, planPatience
		transportOf(t, g).MaxIdleConnsPerHost = soakAtOnce
	}
	stop := k.watch(t)
	k.run(t)
	eventually(t, "no transaction is open", func() bool {
		return first.Handler.Transactions.Open()+second.Handler.Transactions.Open() == 0 && s.inTransaction(t) == "0" && k.idle(t)
	})
	stop()
	k.check(t)
	second.commit(t, first.start(t, startBody))
}

func transportOf(t testing.TB, g *gateway) *http.Transport {
	t.Helper()
	transport, ok := g.Client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the client's transport is a %T", g.Client.Transport)
	}
	return transport
}

// transactionSoak notes how each transaction has ended, by its number.
type transactionSoak struct {
	*shop
	gateways []*gateway
	// own are the backends of this test, as an array of PostgreSQL's.
	own string

	mu    sync.Mutex
	ended map[int]ending
}

type ending int

const (
	withEffect ending = iota
	withoutEffect
	eitherWay
)

// vanishing are the ways in which clients vanish. What they are told does not matter.
var vanishing = []struct {
	name string
	run  func(k *transactionSoak, t testing.TB, i int) ending
}{
	{"between requests", (*transactionSoak).vanishBetween},
	{"in a statement", (*transactionSoak).vanishInStatement},
	{"as it begins", (*transactionSoak).vanishInStart},
	{"in the commit", (*transactionSoak).vanishInCommit},
	{"in a request's body", (*transactionSoak).vanishInBody},
}

func (k *transactionSoak) run(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	queue := make(chan int)
	for range soakAtOnce {
		all.Go(func() {
			for i := range queue {
				k.client(t, i)
			}
		})
	}
	for i := range *soakTransactions {
		queue <- i
	}
	close(queue)
	all.Wait()
}

// client is one that vanishes, or two that do not.
func (k *transactionSoak) client(t testing.TB, i int) {
	t.Helper()
	var end ending
	if i%3 == 0 {
		end = vanishing[i/3%len(vanishing)].run(k, t, i)
	} else {
		var err error
		if end, err = k.stay(t, i); err != nil {
			t.Errorf("transaction %d: %v", i, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended[i] = end
}

// send has any of the gateways answer.
func (k *transactionSoak) send(ctx context.Context, t testing.TB, path, body string) (reply, error) {
	t.Helper()
	g := k.gateways[rand.IntN(len(k.gateways))]
	response, err := g.Client.Do(g.request(t, http.MethodPost, path, body).WithContext(ctx))
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, response.StatusCode, text)
	}
	return reply{response.StatusCode, response.Header, string(text)}, err
}

// begin starts a transaction that has a row.
func (k *transactionSoak) begin(ctx context.Context, t testing.TB, body string, i int) (path string, err error) {
	t.Helper()
	got, err := k.send(ctx, t, "/transaction/start", body)
	if err != nil {
		return "", err
	}
	path = "/transaction/" + got.Header.Get("Prisma-Transaction-Id")
	_, err = k.send(ctx, t, path+"/query", plan("executeRaw", fmt.Sprintf("insert into item values (%d, 'item %d')", i, i)))
	return path, err
}

func (k *transactionSoak) stay(t testing.TB, i int) (ending, error) {
	t.Helper()
	end, how := withEffect, "commit"
	if i%4 == 0 {
		end, how = withoutEffect, "rollback"
	}
	path, err := k.begin(t.Context(), t, patientBody, i)
	if err != nil {
		return end, err
	}
	got, err := k.send(t.Context(), t, path+"/query", plan("queryRaw", fmt.Sprintf("select name from item where id = %d", i)))
	if err != nil {
		return end, err
	}
	if !strings.Contains(got.Body, fmt.Sprintf(`"item %d"`, i)) {
		return end, errors.New("its own row is not there: " + got.Body)
	}
	_, err = k.send(t.Context(), t, path+"/"+how, "{}")
	return end, err
}

// soon ends at some moment, which may be before a request is sent or after it is answered.
func soon(t testing.TB, most time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), rand.N(most))
}

func (k *transactionSoak) vanishBetween(t testing.TB, i int) ending {
	t.Helper()
	_, _ = k.begin(t.Context(), t, hastyBody, i)
	return withoutEffect
}

func (k *transactionSoak) vanishInStatement(t testing.TB, i int) ending {
	t.Helper()
	if path, err := k.begin(t.Context(), t, hastyBody, i); err == nil {
		ctx, vanish := soon(t, 20*time.Millisecond)
		defer vanish()
		_, _ = k.send(ctx, t, path+"/query", plan("queryRaw", "select pg_sleep(600)"))
	}
	return withoutEffect
}

func (k *transactionSoak) vanishInStart(t testing.TB, _ int) ending {
	t.Helper()
	ctx, vanish := soon(t, 10*time.Millisecond)
	defer vanish()
	_, _ = k.send(ctx, t, "/transaction/start", hastyBody)
	return withoutEffect
}

func (k *transactionSoak) vanishInCommit(t testing.TB, i int) ending {
	t.Helper()
	if path, err := k.begin(t.Context(), t, hastyBody, i); err == nil {
		ctx, vanish := soon(t, 5*time.Millisecond)
		defer vanish()
		_, _ = k.send(ctx, t, path+"/commit", "{}")
	}
	return eitherWay
}

// vanishInBody says that its body is longer than it is, and goes.
func (k *transactionSoak) vanishInBody(t testing.TB, i int) ending {
	t.Helper()
	path, err := k.begin(t.Context(), t, hastyBody, i)
	if err != nil {
		return withoutEffect
	}
	g := k.gateways[rand.IntN(len(k.gateways))]
	dialer := tls.Dialer{Config: transportOf(t, g).TLSClientConfig}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.URL, "https://"))
	if err != nil {
		t.Errorf("connecting: %v", err)
		return withoutEffect
	}
	defer conn.Close()
	request := g.request(t, http.MethodPost, path+"/query", `{"operation":`)
	request.ContentLength += 100
	_ = request.Write(conn) // It says that the body is too short, when what there is was sent.
	return withoutEffect
}

// servers is how many server connections PgBouncer has, and how many of them are used.
// One that carries a cancel request is none, as PostgreSQL makes no session of it; while
// it connects it looks like any other that does.
func (k *transactionSoak) servers(t testing.TB) (all, active int) {
	t.Helper()
	rows, err := k.PgBouncer.Admin.Show(t.Context(), "SERVERS")
	if err != nil {
		t.Errorf("asking PgBouncer: %v", err)
	}
	for _, row := range rows {
		switch row["state"] {
		case "new", "active_cancel":
		case "active":
			active++
			all++
		default:
			all++
		}
	}
	return all, active
}

func (k *transactionSoak) idle(t testing.TB) bool {
	t.Helper()
	_, active := k.servers(t)
	return active == 0
}

// backends is how many sessions of PgBouncer's PostgreSQL has.
func (k *transactionSoak) backends(t testing.TB) int {
	t.Helper()
	count, err := strconv.Atoi(k.Postgres.Ask(t, "select count(*) from pg_stat_activity where usename = 'owner' and pid <> all('"+k.own+"')"))
	if err != nil {
		t.Errorf("counting sessions: %v", err)
	}
	return count
}

// watch samples server connections until stop is called.
func (k *transactionSoak) watch(t testing.TB) (stop func()) {
	t.Helper()
	ended, done := make(chan struct{}), make(chan struct{})
	samples, most, sessions := 0, 0, 0
	go func() {
		defer close(done)
		for ; ; samples++ {
			all, _ := k.servers(t)
			most, sessions = max(most, all), max(sessions, k.backends(t))
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ended:
				return
			}
		}
	}()
	return func() {
		t.Helper()
		close(ended)
		<-done
		t.Logf("in %d samples PgBouncer had at most %d server connections, and PostgreSQL %d sessions", samples, most, sessions)
		if most != soakServers || sessions > soakServers+1 { // One may log in as another ends.
			t.Errorf("it should be %d", soakServers)
		}
	}
}

// check compares the rows that there are with those that there should be.
func (k *transactionSoak) check(t testing.TB) {
	t.Helper()
	there := map[string]bool{}
	for name := range strings.FieldsSeq(strings.ReplaceAll(k.names(t), "item ", "")) {
		there[name] = true
	}
	counts := map[ending]int{}
	for i, end := range k.ended {
		counts[end]++
		if is := there[fmt.Sprint(i)]; is != (end == withEffect) && end != eitherWay {
			t.Errorf("of transaction %d, which ended as %d, there is a row: %v", i, end, is)
		}
	}
	t.Logf("%d transactions were committed, %d were not, and of %d the client does not know", counts[withEffect], counts[withoutEffect], counts[eitherWay])
}
