// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// aWhile is long enough for the pooler to read its files several times, so that
// what has not happened then was not going to.
const aWhile = 2500 * time.Millisecond

func TestNothingRunsWithoutAGrant(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.config(aConfig(nil))
	p.await("it tells its state", func(s contract.Status) bool { return s.UID == p.uid })
	time.Sleep(aWhile)
	if p.starts() != 0 {
		t.Error("PgBouncer was started")
	}
	if p.ready() {
		t.Error("it is ready")
	}
	if code, _ := p.get("/healthz", nil); code != 200 {
		t.Errorf("healthz answers %d: a pod that waits must not be restarted", code)
	}
	if s, _ := p.status(); s.Gen != 0 || s.Cap != 0 {
		t.Errorf("status is %+v", s)
	}
}

func TestTheGrantOfACopiedPodIsNotObeyed(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	revision := p.config(aConfig(nil))
	p.annotate(contract.Grant{UID: "the-original", Gen: 5, Share: 10, Config: revision})
	p.await("it says why", func(s contract.Status) bool { return strings.Contains(s.Problem, "another pod's") })
	time.Sleep(aWhile)
	if p.starts() != 0 {
		t.Error("PgBouncer was started")
	}
	p.grant(6, 4, revision)
	p.runs(6, 4)
}

func TestAnOlderGrantIsNotObeyed(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	revision := p.config(aConfig(nil))
	p.grant(7, 3, revision)
	p.runs(7, 3)
	p.grant(6, 20, revision)
	p.await("it says why", func(s contract.Status) bool { return strings.Contains(s.Problem, "older") })
	time.Sleep(aWhile)
	p.runs(7, 3)
}

func TestAnotherGrantOfTheSameNumberIsNotObeyed(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	revision := p.config(aConfig(nil))
	p.grant(7, 3, revision)
	p.runs(7, 3)
	another := aConfig(nil, "second")
	for _, edit := range []func(){
		func() { p.grant(7, 20, revision) },
		func() { p.grant(7, 0, revision) },
		func() { p.grant(7, 3, p.config(another)) },
	} {
		edit()
		p.await("it says why", func(s contract.Status) bool { return strings.Contains(s.Problem, "only a higher generation") })
		time.Sleep(aWhile)
		p.runs(7, 3)
	}
	p.kill() // A new container does not fall for it either.
	p.start()
	p.await("it says why", func(s contract.Status) bool { return strings.Contains(s.Problem, "only a higher generation") })
	p.runs(7, 3)
	p.grant(8, 20, p.config(another))
	p.await("it is content", func(s contract.Status) bool { return s.Gen == 8 && s.Cap == 20 && s.Problem == "" })
}

func TestGrantAndConfigurationComeInAnyOrder(t *testing.T) {
	t.Parallel()
	first, second := aConfig(nil), aConfig(nil, "second")
	for name, newer := range map[string]func(p *pod){
		"the grant first": func(p *pod) {
			_, revision, _ := contract.Document{Version: 1, StatusKey: statusKey, PgBouncer: second}.Encode()
			p.grant(2, 8, revision)
			p.await("it waits for the configuration", func(s contract.Status) bool { return strings.Contains(s.Problem, "not here yet") })
			time.Sleep(aWhile)
			p.runs(1, 5)
			p.config(second)
		},
		"the configuration first": func(p *pod) {
			revision := p.config(second)
			time.Sleep(aWhile)
			p.runs(1, 5)
			p.grant(2, 8, revision)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := aPod(t).start()
			p.grant(1, 5, p.config(first))
			p.runs(1, 5)
			newer(p)
			p.runs(2, 8)
			if p.starts() != 1 {
				t.Errorf("PgBouncer was started %d times", p.starts())
			}
		})
	}
}

func TestAShareChangesWhileANewerConfigurationIsOnItsWay(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	old := p.config(aConfig(nil))
	p.grant(1, 5, old)
	p.runs(1, 5)
	p.config(aConfig(nil, "second"))
	p.grant(2, 3, old)
	p.runs(2, 3)
}

func TestAShareOfNothingStopsPgBouncer(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	revision := p.config(aConfig(nil))
	p.grant(1, 5, revision)
	p.runs(1, 5)
	p.grant(2, 0, revision)
	p.runs(2, 0)
	if p.ready() {
		t.Error("a parked pod is ready")
	}
	if code, _ := p.get("/healthz", nil); code != 200 {
		t.Errorf("healthz answers %d: a parked pod must not be restarted", code)
	}
	if s, _ := p.status(); s.Draining {
		t.Error("a parked pod is not draining")
	}
	p.grant(3, 2, revision)
	p.runs(3, 2)
	eventually(t, "it is ready again", p.ready)
}

func TestAParkedPodTakesClientsUntilItCountsAsUnready(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t)
	p.options.UnreadyTime = 2 * time.Second
	p.start()
	revision := p.config(aConfig(server))
	p.grant(1, 2, revision)
	p.runs(1, 2)
	begin := time.Now()
	p.grant(2, 0, revision)
	eventually(t, "it says that it takes no more", func() bool { return !p.ready() })
	for served := 0; ; served++ {
		conn, err := p.client("shop")
		if time.Since(begin) > p.options.UnreadyTime {
			break
		}
		if err != nil {
			t.Fatalf("after %d others a client was turned away: %v", served, err)
		}
		_ = conn.Close(t.Context())
		time.Sleep(20 * time.Millisecond)
	}
	eventually(t, "it is parked", func() bool { s, _ := p.status(); return s.Gen == 2 && s.Cap == 0 })
}

func TestAShareTooSmallForTheDatabasesParks(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.grant(1, 2, p.config(aConfig(nil, "b", "c")))
	p.await("it says why", func(s contract.Status) bool { return strings.Contains(s.Problem, "too small") && s.Cap == 0 })
	if p.starts() != 0 {
		t.Error("PgBouncer was started")
	}
}

func TestARestartedContainerKeepsItsGrant(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	revision := p.config(aConfig(nil))
	p.grant(4, 5, revision)
	p.runs(4, 5)
	p.kill()
	// The kubelet does not refresh the files of a restarted container by itself.
	p.grant(3, 50, revision)
	publish(t, p.options.ConfigDir, nil)
	p.start()
	p.runs(4, 5)
	eventually(t, "it is ready", p.ready)
}

func TestAConfigurationThatCanNotBeRunLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*pgbouncer.Config){
		"one we refuse": func(c *pgbouncer.Config) { c.Parameters = map[string]string{"default_pool_size": "100"} },
		"one that takes a new PgBouncer": func(c *pgbouncer.Config) {
			c.Server.User, c.Server.Password, c.Users = "", "", nil
			c.Lookup = pgbouncer.Lookup{User: "finder", Password: "s3cret", Query: "select $1, $1"}
		},
		"one PgBouncer refuses": func(c *pgbouncer.Config) { c.Server.TLSMode = "verify-full" },
	} {
		t.Run(name, func(t *testing.T) {
			p := aPod(t)
			// PgBouncer takes all that we let through, so this breaks the file that
			// speaks of certificates.
			p.options.CAFile = "/ca.crt\nthis line means nothing"
			p.start()
			good := p.config(aConfig(nil))
			p.grant(1, 5, good)
			p.runs(1, 5)
			bad := aConfig(nil)
			breakIt(&bad)
			p.grant(2, 3, p.config(bad))
			s := p.await("it says why, and obeys the share", func(s contract.Status) bool {
				return s.Problem != "" && s.Gen == 2 && s.Cap == 3
			})
			t.Logf("problem: %s", s.Problem)
			if s.Config != good {
				t.Errorf("configuration %s is in force, want the last good one, %s", s.Config, good)
			}
			if strings.Contains(s.Problem, "s3cret") || strings.Contains(p.log.String(), "s3cret") {
				t.Error("a password is in the status or the log")
			}
			better := aConfig(nil)
			better.MaxClientConnections = 77
			p.grant(3, 4, p.config(better))
			p.await("it recovers", func(s contract.Status) bool { return s.Gen == 3 && s.Cap == 4 && s.Problem == "" })
			if p.starts() != 1 {
				t.Errorf("PgBouncer was started %d times", p.starts())
			}
		})
	}
}
