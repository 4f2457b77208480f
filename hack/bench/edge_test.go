// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	domain       = "edge.test"
	workers      = 16
	edgeRounds   = 8
	edgeRound    = 2 * time.Second
	idleSockets  = 1000
	idleDuration = time.Minute // Two pings each.
)

// aSite is a PostgreSQL, the PgBouncer before it and a gateway before that. Everybody
// speaks TLS and verifies, as workers do, but for a second gateway: what it is without.
type aSite struct {
	gateway           *aGateway
	worker, inPlain   worker
	direct, pgbouncer *pgconn.Config
}

func startSite(t *testing.T) aSite {
	t.Helper()
	authority := testenv.NewAuthority(t)
	local := authority.Issue(t, "127.0.0.1")
	server := testenv.Postgres(t, map[string]string{"max_connections": "100"}, testenv.WithCertificate(local))
	server.Exec(t, "create role "+role+" login password '"+password+"'", "create database shop owner "+role)
	cfg := configuration(server)
	cfg.ClientTLS = pgbouncer.ClientTLS{Mode: "prefer", Certificate: string(local.Certificate), Key: string(local.Key)}
	cfg.MaxClientConnections = 2 * idleSockets
	limits, err := pgbouncer.Split(cfg.Databases, share)
	if err != nil {
		t.Fatal(err)
	}
	pooler := testenv.PgBouncer(t, pgbouncer.Rendering{Config: cfg, Limits: limits})
	warm(t, pooler.Port)

	host := "shop-demo." + domain
	outside, dir := authority.Issue(t, "*."+domain), t.TempDir()
	job := gatewayJob{
		Domain: domain, Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"),
		Pool: edge.Pool{
			Namespace: "demo", Name: "shop", Label: "shop-demo", Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(pooler.Port))),
			TLS: true, Authority: string(local.CA), MaxConcurrency: 2 * idleSockets,
		},
	}
	write(t, job.Certificate, string(outside.Certificate))
	write(t, job.Key, string(outside.Key))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority.CA)
	direct := &server.Config(role, password, "shop").Config
	direct.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}
	site := aSite{gateway: startGateway(t, job), direct: direct, pgbouncer: direct.Copy()}
	site.pgbouncer.Port = pooler.Port
	site.worker = worker{gateway: site.gateway.address, host: host, login: site.pgbouncer, tls: &tls.Config{RootCAs: trusted, ServerName: host}}
	job.Certificate, job.Key, job.Pool.TLS = "", "", false
	site.inPlain = worker{gateway: startGateway(t, job).address, host: host, login: site.pgbouncer}
	return site
}

// TestWorkersAtTheGateway: queries a second in the ways of workers, against a new
// connection to the database for each query and against a connection to PgBouncer that
// is kept, all in one run and over TLS.
func TestWorkersAtTheGateway(t *testing.T) {
	site := startSite(t)
	ways := []struct {
		name    string
		connect newClient
	}{
		{"/sql, kept connection", site.worker.sql},
		{"/sql, new connection each", afresh(site.worker.sql)},
		{"WebSocket, new one each", afresh(site.worker.socket)},
	}
	toNew, toKept := make([]pairs, len(ways)), make([]pairs, len(ways))
	cost := make([][]float64, len(ways))
	var newToKept, plain pairs
	bare := site.pgbouncer.Copy()
	bare.TLSConfig = nil
	for turn := range edgeRounds {
		var fresh, kept, plainSQL, plainKept float64
		rates := make([]float64, len(ways))
		steps := []func(){
			func() { fresh = rate(t, newConnections(site.direct)) },
			func() { kept = rate(t, keptConnection(site.pgbouncer)) },
			func() { plainKept = rate(t, keptConnection(bare)) },
			func() { plainSQL = rate(t, site.inPlain.sql) },
		}
		for i, way := range ways {
			steps = append(steps, func() {
				var micros float64
				rates[i], micros = costly(t, way.connect, site.gateway.pid)
				cost[i] = append(cost[i], micros)
			})
		}
		inOrder(turn, steps)
		for i := range ways {
			toNew[i].add(rates[i], fresh)
			toKept[i].add(rates[i], kept)
		}
		newToKept.add(fresh, kept)
		plain.add(plainSQL, plainKept)
	}
	out := newTable(fmt.Sprintf("Queries a second of %d workers at the gateway, over TLS", workers),
		"\tthis way\tthe other\tratio, median\tsmallest to largest\tturns")
	for i, way := range ways {
		out.compare(way.name+", to a new connection to PostgreSQL", "/s", toNew[i])
		out.compare(way.name+", to a kept one to PgBouncer", "/s", toKept[i])
	}
	out.compare("/sql, kept connection, to a kept one to PgBouncer, both without TLS", "/s", plain)
	out.compare("a new connection to PostgreSQL, to a kept one to PgBouncer", "/s", newToKept)
	_ = out.Flush()
	out = newTable("The gateway's processor time for a query", "\tmedian\tsmallest to largest")
	for i, way := range ways {
		out.row("%s\t%.0f µs\t%.0f to %.0f µs", way.name, median(cost[i]), slices.Min(cost[i]), slices.Max(cost[i]))
	}
	_ = out.Flush()
}

// TestAnIdleWebSocket: what the gateway's own process holds and spends for each. The
// kernel's memory for connections is not in it.
func TestAnIdleWebSocket(t *testing.T) {
	site := startSite(t)
	site.worker.idle(t) // What the first one makes, all others share.
	empty := site.gateway.memory(t)
	for range idleSockets {
		site.worker.idle(t)
	}
	open := site.gateway.memory(t)
	before := spent(t, []int{site.gateway.pid})
	time.Sleep(idleDuration)
	used := spent(t, []int{site.gateway.pid}) - before

	out := newTable(fmt.Sprintf("%d idle WebSockets, over TLS on both sides", idleSockets), "\twithout\twith\tfor each")
	each := func(name string, without, with float64) {
		out.row("%s\t%.1f MiB\t%.1f MiB\t%.1f KiB", name, without/(1<<20), with/(1<<20), (with-without)/idleSockets/(1<<10))
	}
	each("resident memory", empty.resident, open.resident)
	each("heap in use", empty.heap, open.heap)
	each("stacks", empty.stack, open.stack)
	out.row("processor time of 1,000\t\t%.2f s a minute\t", used.Seconds()/idleDuration.Minutes()*1000/idleSockets)
	_ = out.Flush()
}

// inOrder does all steps, each turn beginning with the next: whoever comes later finds
// the machine as those before have left it.
func inOrder(turn int, steps []func()) {
	for i := range steps {
		steps[(turn+i)%len(steps)]()
	}
}

// costly is a rate, and the microseconds of processor time that a process spent on each query.
func costly(t *testing.T, connect newClient, process int) (perSecond, micros float64) {
	t.Helper()
	before := spent(t, []int{process})
	perSecond = rate(t, connect)
	used := spent(t, []int{process}) - before
	return perSecond, float64(used.Microseconds()) / (perSecond * edgeRound.Seconds())
}

// rate is how many queries a second workers run at once, each after one that does not
// count. None may fail.
func rate(t *testing.T, connect newClient) float64 {
	t.Helper()
	var ready, done sync.WaitGroup
	var queries atomic.Int64
	var deadline time.Time
	begin, failures := make(chan struct{}), make(chan error, workers)
	for range workers {
		ready.Add(1)
		done.Go(func() {
			one, err := warmed(t.Context(), connect)
			ready.Done()
			defer one.close()
			for <-begin; err == nil && time.Now().Before(deadline); queries.Add(1) {
				err = one.query(t.Context())
			}
			if err != nil {
				failures <- err
			}
		})
	}
	ready.Wait()
	begun := time.Now()
	deadline = begun.Add(edgeRound)
	close(begin)
	done.Wait()
	if len(failures) > 0 {
		t.Fatalf("%d of %d workers failed, one of them with: %v", len(failures), workers, <-failures)
	}
	return float64(queries.Load()) / time.Since(begun).Seconds()
}

func warmed(ctx context.Context, connect newClient) (client, error) {
	one, err := connect(ctx)
	if err != nil {
		return client{close: func() {}}, err
	}
	return one, one.query(ctx)
}
