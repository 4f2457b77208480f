// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// figures are the series of one scrape by name and labels, as they stand in it.
type figures map[string]float64

// scrape reads the pod's metrics; text is all of it.
func (p *pod) scrape() (f figures, text string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.options.MetricsAddress+contract.MetricsPath, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err.Error()
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("scraping: %s, %v\n%s", response.Status, err, data)
	}
	f = figures{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := cutLast(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		if f[name], err = strconv.ParseFloat(value, 64); err != nil {
			p.t.Fatalf("%q is no sample: %v", line, err)
		}
	}
	return f, string(data)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// shows waits until a scrape has all of want.
func (p *pod) shows(what string, want figures) {
	p.t.Helper()
	var text string
	eventually(p.t, what, func() bool {
		var got figures
		got, text = p.scrape()
		for name, value := range want {
			if is, there := got[name]; !there || is != value {
				return false
			}
		}
		return true
	}, func() string { return "the last scrape was\n" + text })
}

const (
	waitingClients = `pgbouncer_pools_client_waiting_connections{database="shop",user="app"}`
	activeServers  = `pgbouncer_pools_server_active_connections{database="shop",user="app"}`
	idleServers    = `pgbouncer_pools_server_idle_connections{database="shop",user="app"}`
	activeClients  = `pgbouncer_pools_client_active_connections{database="shop",user="app"}`
)

// transactions are n clients that each have one open; those beyond the share wait.
func (p *pod) transactions(n int) (end func()) {
	p.t.Helper()
	done := make(chan struct{})
	work := p.work(n, func(_ int, conn *pgx.Conn) error {
		tx, err := conn.Begin(p.t.Context())
		if err != nil {
			return err
		}
		<-done
		return tx.Commit(p.t.Context())
	}, "shop")
	return func() {
		work.stop()
		close(done)
		work.end(p.t)
	}
}

func TestMetricsSayWhatTheServerAndTheClientsSee(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.shows("nothing runs before a grant", figures{"pgbouncer_up": 0, "poolfleet_pooler_granted_connections": 0, "poolfleet_pooler_held_connections": 0, "poolfleet_pooler_serving": 0})
	revision := p.config(aConfig(server))
	p.grant(7, 3, revision)
	p.runs(7, 3)
	end := p.transactions(5)
	p.shows("three of five clients are served", figures{
		"pgbouncer_up": 1, waitingClients: 2, activeServers: 3, activeClients: 3, idleServers: 0,
		"poolfleet_pooler_granted_connections": 3, "poolfleet_pooler_held_connections": 3, "poolfleet_pooler_server_connections": 3,
		"poolfleet_pooler_starved_clients": 2, "poolfleet_pooler_grant_generation": 7, "poolfleet_pooler_serving": 1,
		"poolfleet_pooler_configuration_behind": 0, "poolfleet_pooler_draining": 0, "poolfleet_pooler_paused": 0,
		`poolfleet_pooler_configuration_info{revision="` + revision + `"}`:                  1,
		`pgbouncer_databases_max_connections{database="shop",name="shop",pool_mode=""}`:     3,
		`pgbouncer_databases_current_connections{database="shop",name="shop",pool_mode=""}`: 3,
		"pgbouncer_config_max_client_connections":                                           501,
	})
	if backends := len(poolersOf(server.Backends(t))); backends != 3 {
		t.Errorf("the server has %d of its connections, want 3", backends)
	}
	got, _ := p.scrape()
	if waited := got[`pgbouncer_pools_client_maxwait_seconds{database="shop",user="app"}`]; waited < 1 {
		t.Errorf("clients that are starved for a second have waited for %v s", waited)
	}
	end()
	p.shows("nobody waits", figures{waitingClients: 0, activeServers: 0, idleServers: 3, `pgbouncer_stats_totals_sql_transactions_pooled_total{database="shop"}`: 5})
	got, text := p.scrape()
	if took := got[`pgbouncer_stats_totals_client_wait_seconds_total{database="shop"}`]; took < 1 || took > 600 {
		t.Errorf("clients have waited for %v s", took)
	}
	for _, secret := range []string{serverPassword, clientPassword, string(statusKey), "127.0.0.1"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics hold %q:\n%s", secret, text)
		}
	}
}

func TestMetricsTellOfPausesAndReloads(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	p.grant(1, 3, p.config(cfg))
	p.runs(1, 3)
	before, _ := p.scrape()
	p.pause(2, 3, cfg)
	p.shows("it is paused", figures{"poolfleet_pooler_paused": 1, "pgbouncer_up": 1, "poolfleet_pooler_grant_generation": 2})
	p.grant(3, 2, p.config(cfg))
	p.runs(3, 2)
	after, _ := p.scrape()
	if after["poolfleet_pooler_reloads_total"] <= before["poolfleet_pooler_reloads_total"] || after["poolfleet_pooler_failed_reloads_total"] != 0 {
		t.Errorf("reloads went from %v to %v, of which %v failed", before["poolfleet_pooler_reloads_total"],
			after["poolfleet_pooler_reloads_total"], after["poolfleet_pooler_failed_reloads_total"])
	}
	bad := cfg
	bad.Server.Host = "other"
	bad.Databases = []pgbouncer.Database{{Name: "shop\n", Database: "shop"}}
	p.grant(4, 2, p.config(bad))
	p.shows("a configuration that can not be run is not in force", figures{"poolfleet_pooler_configuration_behind": 1, "pgbouncer_up": 1})
}

func TestMetricsTellOfAPgBouncerThatEnds(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	p.grant(1, 1, p.config(aConfig(server)))
	p.runs(1, 1)
	conn, err := p.client("shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	waits := p.knocks()
	p.shows("the supervisor has seen the connection for a second", figures{"poolfleet_pooler_starved_clients": 1, "poolfleet_pooler_pgbouncer_starts_total": 1})
	p.killPgBouncer()
	p.shows("its end is counted", figures{
		"poolfleet_pooler_pgbouncer_crashes_total": 1, "poolfleet_pooler_pgbouncer_starts_total": 2,
		"poolfleet_pooler_orphaned_connections_total": 1, "pgbouncer_up": 1,
	})
	if err := <-waits; err == nil {
		t.Error("a client was served by a PgBouncer that was killed")
	}
}

func TestAScrapeOfAPgBouncerThatDoesNotAnswerEnds(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.grant(1, 3, p.config(aConfig(nil)))
	p.runs(1, 3)
	p.signalPgBouncer(syscall.SIGSTOP)
	got, text := p.scrape()
	if got["pgbouncer_up"] != 0 || got["poolfleet_pooler_granted_connections"] != 3 {
		t.Errorf("a stopped PgBouncer is told of as\n%s", text)
	}
	if _, told := got["poolfleet_pooler_server_connections"]; told {
		t.Error("what nobody could ask for is told as a number")
	}
	p.signalPgBouncer(syscall.SIGCONT)
	p.shows("it answers again", figures{"pgbouncer_up": 1})
}

func TestNothingButMetricsIsServedToThoseWhoMayReadThem(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.shows("metrics are served", figures{"pgbouncer_up": 0})
	for _, path := range []string{contract.StatusPath, "/healthz", "/readyz", "/"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.options.MetricsAddress+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %s", path, response.Status)
		}
	}
	if code, _ := p.get(contract.MetricsPath, nil); code != http.StatusNotFound {
		t.Errorf("metrics on the port of the status answer %d", code)
	}
}
