// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// loginRetry is PgBouncer's setting in force.
func (p *pod) loginRetry() string {
	p.t.Helper()
	rows, err := p.console().Show(p.t.Context(), "CONFIG")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, row := range rows {
		if row["key"] == "server_login_retry" {
			return row["value"]
		}
	}
	p.t.Fatal("PgBouncer has no setting server_login_retry")
	return ""
}

// holds opens a transaction, which has a server connection until the end of the test.
func (p *pod) holds() {
	p.t.Helper()
	conn, err := p.client("shop")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := conn.Exec(p.t.Context(), "begin"); err != nil {
		p.t.Fatal(err)
	}
}

// asks runs a query that needs one more server connection.
func (p *pod) asks() <-chan error {
	p.t.Helper()
	conn, err := p.client("shop")
	if err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "select 1")
		done <- err
	}()
	return done
}

func expectAnswer(t *testing.T, answer <-chan error) {
	t.Helper()
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("the query that waited failed: %v", err)
		}
	case <-time.After(patience):
		t.Error("the query that waited was not answered")
	}
}

// admissionFull is a pod of share 5 with one connection, at a server that has no
// room for more but by letting go of what free closes.
func admissionFull(t *testing.T) (p *pod, server *testenv.PostgresServer, revision string, free func()) {
	t.Helper()
	server = aServer(t)
	p = aPod(t).start()
	cfg := aConfig(server)
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 97})
	cfg.Parameters = map[string]string{"query_wait_timeout": "120"}
	revision = p.config(cfg)
	p.grant(1, 5, revision)
	p.runs(1, 5)
	p.holds()
	var others []*pgx.Conn
	for range 2 {
		others = append(others, server.Superuser(t))
	}
	return p, server, revision, func() {
		for _, conn := range others {
			_ = conn.Close(context.Background())
		}
	}
}

// terminated is how many of the server's sessions were ended by pg_terminate_backend.
func terminated(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "select sessions_killed from pg_stat_database where datname = 'shop'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestALoginThatFindsNoRoomIsTriedEverMoreSeldomUntilANewGrantComes(t *testing.T) {
	t.Parallel()
	p, server, revision, free := admissionFull(t)
	monitor := server.Superuser(t)
	answer := p.asks()
	eventually(t, "the interval has grown to its longest", func() bool { return p.loginRetry() == "15" })
	s, _ := p.status()
	tries := terminated(t, monitor)
	t.Logf("%d tries at the server, %d refused", tries, s.Refused)
	if int64(tries) != s.Refused || s.Refused > 10 { // At 0, 0.2, 0.6, 1.4, 3, 6.2, 12.6 and 25.4 s, if all goes by the clock.
		t.Errorf("%d tries at the server and %d refused, want few", tries, s.Refused)
	}
	if got := strings.Count(p.log.String(), "terminating connection"); got > 5 {
		t.Errorf("%d of PgBouncer's lines are about it", got)
	}
	if got := strings.Count(p.log.String(), "the server has no room"); got != 1 {
		t.Errorf("%d of our lines are about it", got)
	}
	_ = monitor.Close(t.Context())
	free()
	granted := time.Now()
	p.grant(2, 5, revision)
	expectAnswer(t, answer)
	waited := time.Since(granted)
	t.Logf("answered %s after the new grant", waited)
	if waited > 10*time.Second { // The next try would be later still.
		t.Error("with a new grant the interval was not forgotten")
	}
	eventually(t, "logins are tried as before", func() bool { return p.loginRetry() == "1" })
}

func TestARefusedLoginSucceedsOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	t.Run("by admission", func(t *testing.T) {
		t.Parallel()
		p, _, _, free := admissionFull(t)
		answer := p.asks()
		p.await("it was refused", func(s contract.Status) bool { return s.Refused >= 2 })
		free()
		expectAnswer(t, answer)
		eventually(t, "logins are tried as before", func() bool { return p.loginRetry() == "1" })
	})
	for name, alter := range map[string]string{"by the role": "role app", "by the database": "database shop"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aServer(t)
			p := aPod(t).start()
			p.grant(1, 5, p.config(aConfig(server)))
			p.runs(1, 5)
			p.holds()
			server.Exec(t, "alter "+alter+" connection limit 1")
			answer := p.asks()
			p.await("it was refused", func(s contract.Status) bool { return s.Refused >= 2 })
			eventually(t, "logins are tried more seldom", func() bool { return p.loginRetry() != "1" })
			server.Exec(t, "alter "+alter+" connection limit -1")
			expectAnswer(t, answer)
			eventually(t, "logins are tried as before", func() bool { return p.loginRetry() == "1" })
		})
	}
}

func TestClientsOfAPoolerWithoutAConnectionWaitUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"admission", "the server"} {
		t.Run("refused by "+by, func(t *testing.T) {
			t.Parallel()
			server := aServer(t)
			p := aPod(t).start()
			cfg := aConfig(server)
			cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 90})
			p.grant(1, 3, p.config(cfg))
			p.runs(1, 3)
			expectAnswer(t, p.knocks())
			free := fillServer(t, server, by)
			server.Exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
			p.await("it has noticed", func(s contract.Status) bool { return s.Current == 0 })
			answers := []<-chan error{p.asks()}
			eventually(t, "clients are held", func() bool { return strings.Contains(p.log.String(), "no server connection is left") })
			for range 5 {
				answers = append(answers, p.knocks(), p.asks())
			}
			p.await("they wait", func(s contract.Status) bool { return s.Waiting >= 6 })
			for _, answer := range answers {
				expectNoAnswer(t, answer)
			}
			free()
			for _, answer := range answers {
				expectAnswer(t, answer)
			}
		})
	}
}

// fillServer leaves no room for another connection of the pooler's until free.
func fillServer(t *testing.T, server *testenv.PostgresServer, by string) (free func()) {
	t.Helper()
	if by == "the server" {
		server.Exec(t, "alter role app connection limit 0")
		return func() { server.Exec(t, "alter role app connection limit -1") }
	}
	var others []*pgx.Conn
	for range 12 {
		others = append(others, server.Superuser(t))
	}
	return func() {
		for _, conn := range others {
			_ = conn.Close(context.Background())
		}
	}
}

// sawAnother says that the pooler has a connection that is none of before.
func sawAnother(t *testing.T, server *testenv.PostgresServer, before map[uint32]bool) bool {
	t.Helper()
	for pid := range pids(t, server) {
		if !before[pid] {
			return true
		}
	}
	return false
}

func TestARefusalOfLongAgoTurnsNobodyAway(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.Parameters = map[string]string{"server_idle_timeout": "2", "query_wait_timeout": "1"}
	p.grant(1, 5, p.config(cfg))
	p.runs(1, 5)
	_, commit := p.transaction()
	before := pids(t, server)
	server.Exec(t, "alter role app connection limit 1")
	if err := <-p.asks(); err == nil {
		t.Error("a query was answered for which there was no room")
	}
	server.Exec(t, "alter role app connection limit -1")
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a login has succeeded since, though nobody asks for one", func() bool { return sawAnother(t, server, before) })
	p.await("it has closed its connections", func(s contract.Status) bool { return s.Current == 0 })
	for range 3 { // The first to come are served, and those beside them.
		var answers []<-chan error
		for range 5 {
			answers = append(answers, p.knocks())
		}
		for _, answer := range answers {
			expectAnswer(t, answer)
		}
		p.await("it has closed its connections", func(s contract.Status) bool { return s.Current == 0 })
	}
}

func TestAServerThatRestartsWhileItHasNoRoomIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	p, server, _, _ := admissionFull(t)
	answer := p.asks()
	p.await("the interval has grown", func(s contract.Status) bool { return s.Refused >= 4 })
	server.Restart(t) // The others' connections are gone.
	expectAnswer(t, answer)
	eventually(t, "logins are tried as before", func() bool { return p.loginRetry() == "1" })
}

func TestLoginsThatFailForAnotherReasonAreNotHeldBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a wrong password", "a server that is down"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aServer(t)
			p := aPod(t).start()
			p.grant(1, 5, p.config(aConfig(server)))
			p.runs(1, 5)
			p.holds()
			if name == "a wrong password" {
				server.Exec(t, "alter role app password 'another'")
			} else {
				server.Stop(t)
			}
			answer := p.asks()
			time.Sleep(4 * time.Second)
			if s, _ := p.status(); s.Refused != 0 || p.loginRetry() != "1" {
				t.Errorf("status is %+v, and logins are tried every %s s", s, p.loginRetry())
			}
			p.kill()
			if err := <-answer; err == nil {
				t.Error("the query that waited was answered")
			}
		})
	}
}
