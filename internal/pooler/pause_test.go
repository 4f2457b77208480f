// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func paused(s contract.Status) bool { return s.Paused }

// pause lays down the configuration as a paused pool has it.
func (p *pod) pause(gen int64, share int32, cfg pgbouncer.Config) {
	p.t.Helper()
	cfg.Paused = true
	p.grant(gen, share, p.config(cfg))
	p.await("it is paused", paused)
}

// knocks opens a client and asks; the answer comes when both are done.
func (p *pod) knocks() <-chan error {
	answer := make(chan error, 1)
	go func() {
		conn, err := p.client("shop")
		if err == nil {
			_, err = conn.Exec(p.t.Context(), "select 1")
		}
		answer <- err
	}()
	return answer
}

func expectNoAnswer(t *testing.T, answer <-chan error) {
	t.Helper()
	select {
	case err := <-answer:
		t.Fatalf("a client was answered (%v), it should have waited", err)
	default:
	}
}

func TestAServerIsRestartedInsideAPauseWithoutAFailure(t *testing.T) {
	server := aServer(t, "second")
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 6, p.config(cfg))
	p.runs(1, 6)
	clients := p.load(30, "select pg_sleep(0.002)", "shop")
	clients.goesOn(t)
	p.pause(2, 6, cfg)
	if backends := len(poolersOf(server.Backends(t))); backends > 0 || !p.ready() {
		t.Errorf("paused it has %d server connections; it is ready: %t", backends, p.ready())
	}
	server.Stop(t)
	newcomer := p.knocks()
	more := aConfig(server, "second")
	p.pause(3, 6, more)
	server.Start(t)
	time.Sleep(500 * time.Millisecond)
	if backends := len(poolersOf(server.Backends(t))); backends > 0 {
		t.Errorf("paused it has %d server connections", backends)
	}
	expectNoAnswer(t, newcomer)
	p.grant(4, 6, p.config(more))
	p.await("it goes on", func(s contract.Status) bool { return s.Gen == 4 && !s.Paused })
	expectAnswer(t, newcomer)
	clients.goesOn(t)
	clients.end(t)
	if p.starts() != 1 {
		t.Errorf("PgBouncer was started %d times", p.starts())
	}
}

func TestAPauseThatEndsBeforeTheServerIsBackFailsNobody(t *testing.T) {
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 4, p.config(cfg))
	p.runs(1, 4)
	clients, leave := p.load(20, "select pg_sleep(0.002)", "shop"), p.visitors(3)
	defer leave()
	clients.goesOn(t)
	p.pause(2, 4, cfg)
	server.Stop(t)
	p.grant(3, 4, p.config(cfg))
	p.await("it goes on", func(s contract.Status) bool { return s.Gen == 3 && !s.Paused })
	time.Sleep(1500 * time.Millisecond)
	server.Start(t)
	clients.goesOn(t)
	leave()
	clients.end(t)
}

// goesOn waits until some more queries have been run.
func (l *load) goesOn(t *testing.T) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.queries
	}
	before := count()
	eventually(t, "clients go on", func() bool { return count() > before+300 })
}

func poolersOf(backends []testenv.Backend) (found []testenv.Backend) {
	for _, b := range backends {
		if b.User == "app" {
			found = append(found, b)
		}
	}
	return found
}

func TestAPauseOutlivesPgBouncerAndTheContainer(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.pause(1, 4, cfg)
	server.Stop(t)
	for what, restart := range map[string]func(){
		"PgBouncer":     p.killPgBouncer,
		"the container": func() { p.kill(); p.start() },
	} {
		before := p.starts()
		restart()
		eventually(t, what+" is started again", func() bool { return p.starts() > before })
		p.await("it is paused", paused)
	}
	var answers []<-chan error
	for range 10 {
		answers = append(answers, p.knocks())
	}
	p.await("clients wait to log in", func(s contract.Status) bool { return s.Clients == 10 })
	server.Start(t)
	for _, answer := range answers {
		expectNoAnswer(t, answer)
	}
	p.grant(2, 4, p.config(cfg))
	for _, answer := range answers {
		expectAnswer(t, answer)
	}
}

func TestAPauseWaitsForTransactionsAndNothingWaitsForIt(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 6, p.config(cfg))
	p.runs(1, 6)
	_, commit := p.transaction()
	cfg.Paused = true
	revision := p.config(cfg)
	p.grant(2, 6, revision)
	p.runs(2, 6)
	waiting := p.knocks()
	p.await("a client waits", func(s contract.Status) bool { return s.Waiting == 1 })
	p.grant(3, 2, revision)
	p.settled(3, 2)
	if s, _ := p.status(); s.Paused || s.Current != 1 {
		t.Errorf("with a transaction under way it says %+v", s)
	}
	if err := commit(); err != nil {
		t.Errorf("the transaction was cut: %v", err)
	}
	p.await("it is paused", paused)
	expectNoAnswer(t, waiting)
	cfg.Paused = false
	p.grant(4, 2, p.config(cfg))
	expectAnswer(t, waiting)
}

func TestClientsWhoWaitedThroughAPauseAreServedThoughItIsTheirTime(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.Parameters = map[string]string{"query_wait_timeout": "3"}
	p.grant(1, 1, p.config(cfg))
	p.runs(1, 1)
	clients := p.load(8, "select pg_sleep(0.2)", "shop")
	p.pause(2, 1, cfg)
	time.Sleep(4 * time.Second)
	p.grant(3, 1, p.config(cfg))
	p.await("it goes on", func(s contract.Status) bool { return s.Gen == 3 && !s.Paused })
	eventually(t, "clients wait no longer than usual", func() bool { return p.setting("query_wait_timeout") == "3" })
	clients.end(t)
}

// setting is the value that PgBouncer runs with.
func (p *pod) setting(name string) string {
	p.t.Helper()
	rows, err := p.console().Show(p.t.Context(), "CONFIG")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, row := range rows {
		if row["key"] == name {
			return row["value"]
		}
	}
	return ""
}

func TestADrainKeepsAPauseAndNudgesIdleClients(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 4, p.configDraining(cfg, 6))
	p.runs(1, 4)
	idle, err := p.client("shop")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Paused = true
	p.grant(2, 4, p.configDraining(cfg, 6))
	p.await("it is paused", paused)
	waits := p.knocks()
	p.await("a client waits", func(s contract.Status) bool { return s.Waiting == 1 })
	p.cancel()
	left := make(chan error, 1)
	go func() { _, err := idle.WaitForNotification(t.Context()); left <- err }()
	select {
	case err := <-left:
		if err == nil {
			t.Error("the idle client was notified of something")
		}
	case err := <-waits:
		t.Errorf("the client that waits was answered (%v) before the idle one left", err)
	}
	eventually(t, "it lets go of what nobody can use", func() bool {
		databases, err := p.console().Databases(t.Context())
		return err == nil && databases[0].MaxConnections == 1
	})
	if backends := len(poolersOf(server.Backends(t))); backends > 0 {
		t.Errorf("paused it has %d server connections", backends)
	}
	p.stop()
	if err := <-waits; err == nil {
		t.Error("a query was run though the pool is paused")
	}
}

func TestAPodWithoutAShareEndsItsPauseWithThePool(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.pause(1, 4, cfg)
	waits := p.knocks()
	p.await("a client waits", func(s contract.Status) bool { return s.Clients == 1 })
	p.grant(2, 0, p.config(cfg))
	eventually(t, "it drains", func() bool { return !p.ready() })
	p.config(aConfig(server))
	expectAnswer(t, waits)
}
