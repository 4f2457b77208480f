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
	"os"
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
// A third answers without asking anybody: what HTTP itself costs.
type aSite struct {
	// bare is without TLS. constant answers without a pool; see gatewayJob.Constant.
	gateway, bare, constant *aGateway
	// worker queries over TLS, inPlain without, toConstant where only net/http is.
	worker, inPlain, toConstant worker

	direct, pgbouncer *pgconn.Config
	// postmaster and pooler are the processes of PostgreSQL and PgBouncer.
	postmaster, pooler int
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
	site := aSite{
		gateway: startGateway(t, job), direct: direct, pgbouncer: direct.Copy(),
		postmaster: listener(t, server.Port), pooler: listener(t, pooler.Port),
	}
	site.pgbouncer.Port = pooler.Port
	site.worker = worker{gateway: site.gateway.address, host: host, login: site.pgbouncer, tls: &tls.Config{RootCAs: trusted, ServerName: host}}
	site.toConstant = site.worker
	job.Constant = true
	site.constant = startGateway(t, job)
	site.toConstant.gateway = site.constant.address
	job.Constant, job.Certificate, job.Key, job.Pool.TLS = false, "", "", false
	site.bare = startGateway(t, job)
	site.inPlain = worker{gateway: site.bare.address, host: host, login: site.pgbouncer}
	return site
}

// A way to query, and the gateway that it leads over.
type way struct {
	name    string
	connect newClient
	gateway *aGateway // nil where there is none.
}

const (
	newToPostgres  = "a new connection to PostgreSQL each"
	keptToPooler   = "a kept connection to PgBouncer"
	keptToGateway  = "/sql, kept connection"
	newToGateway   = "/sql, new connection each"
	newSocket      = "WebSocket, new one each"
	plainToPooler  = keptToPooler + ", without TLS"
	plainToGateway = keptToGateway + ", without TLS"
	toNetHTTP      = "as /sql, a constant from net/http"
)

func (s aSite) ways() []way {
	plain := s.pgbouncer.Copy()
	plain.TLSConfig = nil
	return []way{
		{newToPostgres, newConnections(s.direct), nil},
		{keptToPooler, keptConnection(s.pgbouncer), nil},
		{keptToGateway, s.worker.sql, s.gateway},
		{newToGateway, afresh(s.worker.sql), s.gateway},
		{newSocket, afresh(s.worker.socket), s.gateway},
		{plainToPooler, keptConnection(plain), nil},
		{plainToGateway, s.inPlain.sql, s.bare},
		{toNetHTTP, s.toConstant.sql, s.constant},
	}
}

// TestWorkersAtTheGateway: queries a second in the ways of workers, against a new
// connection to the database for each query and against a connection to PgBouncer that
// is kept, all in one run and over TLS; and what each process spends on a query.
func TestWorkersAtTheGateway(t *testing.T) {
	site := startSite(t)
	ways, rates, costs := site.ways(), map[string][]float64{}, map[string][][]float64{}
	for turn := range edgeRounds {
		for i := range ways {
			// Each turn begins with the next: whoever comes later finds the machine as
			// those before have left it.
			w := ways[(turn+i)%len(ways)]
			perSecond, micros := rate(t, w.connect, site.parties(w.gateway))
			rates[w.name] = append(rates[w.name], perSecond)
			costs[w.name] = append(costs[w.name], micros)
		}
	}
	out := newTable(fmt.Sprintf("Queries a second of %d workers at the gateway, over TLS", workers),
		"\tthis way\tthe other\tratio, median\tsmallest to largest\tturns")
	compare := func(ours, theirs string) { out.compare(ours+", to "+theirs, "/s", pairs{rates[ours], rates[theirs]}) }
	for _, ours := range []string{keptToGateway, newToGateway, newSocket} {
		compare(ours, newToPostgres)
		compare(ours, keptToPooler)
	}
	compare(plainToGateway, plainToPooler)
	compare(newToPostgres, keptToPooler)
	compare(toNetHTTP, keptToPooler)
	_ = out.Flush()
	tellCosts(ways, costs)
}

// parties are the processes that a query costs something, as tellCosts names them.
func (s aSite) parties(gateway *aGateway) []int {
	if gateway == nil {
		return []int{os.Getpid(), s.pooler, s.postmaster}
	}
	return []int{os.Getpid(), s.pooler, s.postmaster, gateway.pid}
}

func tellCosts(ways []way, costs map[string][][]float64) {
	out := newTable("Processor time for a query in µs, medians of all turns", "\tall\tclient\tPgBouncer\tPostgreSQL\tgateway\tgateway, smallest to largest")
	for _, w := range ways {
		all, parties := []float64{}, make([][]float64, 4)
		for _, micros := range costs[w.name] {
			sum := 0.0
			for i, spent := range micros {
				parties[i] = append(parties[i], spent)
				sum += spent
			}
			all = append(all, sum)
		}
		gateway := ""
		if w.gateway != nil {
			gateway = fmt.Sprintf("%.0f\t%.0f to %.0f", median(parties[3]), slices.Min(parties[3]), slices.Max(parties[3]))
		}
		out.row("%s\t%.0f\t%.0f\t%.0f\t%.0f\t%s", w.name, median(all), median(parties[0]), median(parties[1]), median(parties[2]), gateway)
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

// rate is how many queries a second workers run at once, each after one that does not
// count, and how many microseconds of processor time each of some processes spends on a
// query. None may fail.
func rate(t *testing.T, connect newClient, processes []int) (perSecond float64, micros []float64) {
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
	before := families(t, processes)
	begun := time.Now()
	deadline = begun.Add(edgeRound)
	close(begin)
	done.Wait()
	took := time.Since(begun)
	if len(failures) > 0 {
		t.Fatalf("%d of %d workers failed, one of them with: %v", len(failures), workers, <-failures)
	}
	for i, spent := range families(t, processes) {
		micros = append(micros, float64((spent-before[i]).Microseconds())/float64(queries.Load()))
	}
	return float64(queries.Load()) / took.Seconds(), micros
}

func warmed(ctx context.Context, connect newClient) (client, error) {
	one, err := connect(ctx)
	if err != nil {
		return client{close: func() {}}, err
	}
	return one, one.query(ctx)
}
