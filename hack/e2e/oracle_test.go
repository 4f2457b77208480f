// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

var (
	oracleSeed     = flag.Uint64("oracle.seed", 0, "seed of the schedule of disturbances; 0 takes one from the clock")
	oracleDuration = flag.Duration("oracle.duration", 3*time.Minute, "how long the budget is disturbed")
)

// What there must have been, for a run to prove anything.
const (
	samplesPerSecond = 10
	queriesPerSecond = 10
	// usedPercent of the budget was in use at some time.
	usedPercent = 80
)

// Sizes of the server. The smaller budget still has room for a connection for each
// database of each pooler.
const (
	largeServer, smallServer = 60, 42
	// leftToOthers is for the sampler, someone with psql, the disturbances' statements
	// and a look of each of two managers.
	leftToOthers = 8
)

// TestOracle disturbs three pools on one server in every way there is, under load,
// and looks at the server all the while: pools never have more connections than
// the budget, someone else always gets in, and no query of a well-behaved client
// fails.
func TestOracle(t *testing.T) {
	w := connect(t)
	w.install(t)
	o := w.oracle(t)
	defer o.tell(t)
	seed := *oracleSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -tags e2e -run TestOracle ./hack/e2e -oracle.seed=%d -oracle.duration=%s", seed, *oracleDuration)
	stop := o.watch(t)
	calm := o.serve(t)
	o.disturb(t, planned(seed, *oracleDuration, len(o.pools)))
	o.calmsDown(t)
	calm()
	t.Run("the sums fit", o.sumsFit)
	t.Run("a settled budget is not written to", o.quiet)
	stop()
	o.proves(t)
	o.clearAway(t)
}

// oracle is the pools, their server and what is known of them.
type oracle struct {
	*world
	namespace string
	server    *server
	pools     []*poolv1.ConnectionPool
	// names of the pools are their roles', too; urls are by pool, then by database.
	// Like upstream, the name of the server's, they do not change.
	names    []string
	urls     [][]string
	upstream string
	steady   []*load.Steady
	hostile  []*load.Hostile
	visitor  *load.Visitor
	started  time.Time

	timeline timeline
	excuses  excuses
	bound    bound
	seen     seen
	logins   logins
	// beside are clients that come for a while.
	beside sync.WaitGroup
}

// oracle makes a server and three pools: one speaks for most clients, one has two
// databases, one keeps sessions.
func (w *world) oracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{world: w, namespace: w.namespace(t), started: time.Now()}
	o.server = w.startServer(t, install.Postgres{
		Namespace: o.namespace, Name: "postgres", Restartable: true, Settings: []string{"fsync=off"},
	})
	o.bound.put(words{direct: leftToOthers})
	o.resize(t, largeServer)
	o.addPool(t, "shop", nil, weighing(300))
	o.addPool(t, "billing", []string{"ledger"}, weighing(200))
	o.addPool(t, "reports", nil, weighing(100), func(spec *poolv1.ConnectionPoolSpec) { spec.Mode = poolv1.PoolModeSession })
	for _, pool := range o.pools {
		o.awaitReady(t, pool)
	}
	for _, pool := range o.pools {
		o.urls = append(o.urls, o.pooledURLs(t, pool))
	}
	o.upstream = o.pools[0].Status.Upstream.Name
	o.rebound(t, o.bound.last())
	return o
}

func weighing(weight int32) func(*poolv1.ConnectionPoolSpec) {
	return func(spec *poolv1.ConnectionPoolSpec) { spec.ServerConnections.Weight = weight }
}

// addPool makes a pool with a role of its own, and further databases of that role.
func (o *oracle) addPool(t *testing.T, name string, more []string, edits ...func(*poolv1.ConnectionPoolSpec)) {
	t.Helper()
	direct := o.server.role(t, name, "")
	pool := aPool(o.namespace, name, append(edits, lookingOften)...)
	if len(more) > 0 {
		pool.Spec.Databases = append(pool.Spec.Databases, poolv1.PooledDatabase{Name: name})
	}
	for _, database := range more {
		o.server.run(t, fmt.Sprintf("create database %s owner %s", database, name))
		pool.Spec.Databases = append(pool.Spec.Databases, poolv1.PooledDatabase{Name: database})
	}
	o.create(t, aSecret(o.namespace, name+"-db", direct))
	o.create(t, pool)
	o.pools, o.names = append(o.pools, pool), append(o.names, name)
}

// pooledURLs are those of a pool, one for each database, its namesake first.
func (o *oracle) pooledURLs(t *testing.T, pool *poolv1.ConnectionPool) []string {
	t.Helper()
	pooled, err := url.Parse(string(o.published(t, pool).Data["DATABASE_URL"]))
	if err != nil {
		t.Fatal("the published URL is malformed")
	}
	urls := []string{pooled.String()}
	for _, database := range pool.Spec.Databases {
		if database.Name != pool.Name {
			urls = append(urls, pooled.JoinPath("..", database.Name).String())
		}
	}
	return urls
}

// watch samples the server and counts pods until the function it returns is called.
func (o *oracle) watch(t *testing.T) (stop func()) {
	t.Helper()
	sampler := &load.Sampler{
		URL: o.server.AdminURL(), Dial: o.dialer.DialContext, Roles: o.names, Besides: postgres.ApplicationName,
		Each: func(s load.Sample) { o.judge(t, s) },
		Lost: func(at time.Time, err error) {
			o.fails(t, load.Failure{Client: "sampler", Doing: "sampling", From: at, Until: at, Err: err})
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sampler.Run(ctx) })
	running.Go(func() { o.countLogins(ctx) })
	return func() { cancel(); running.Wait() }
}

// serve lets all clients in until the function it returns is called.
func (o *oracle) serve(t *testing.T) (stop func()) {
	t.Helper()
	fails := func(f load.Failure) { o.fails(t, f) }
	shop, billing, ledger, reports := o.urls[0][0], o.urls[1][0], o.urls[1][1], o.urls[2][0]
	simple, extended := pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement
	// Their connections last for less than a pooler that ends gives its clients to leave
	// by themselves: later it closes what is idle between a check and its query, too.
	for _, c := range []*load.Steady{
		{Name: "shop", URL: shop, Mode: simple, Count: 25, Lifetime: 4 * time.Second},
		{Name: "shop", URL: shop, Mode: extended, Count: 25, Lifetime: 4 * time.Second},
		{Name: "billing", URL: billing, Mode: extended, Count: 15, Lifetime: 4 * time.Second},
		{Name: "billing", URL: ledger, Mode: simple, Count: 15, Lifetime: 4 * time.Second},
		{Name: "reports", URL: reports, Mode: extended, Count: 6, Lifetime: 2 * time.Second},
	} {
		c.Dial, c.Work, c.Rest, c.Failed = o.dialer.DialContext, 200*time.Millisecond, 50*time.Millisecond, fails
		o.steady = append(o.steady, c)
	}
	for _, target := range []string{shop, ledger} {
		o.hostile = append(o.hostile, &load.Hostile{URL: target, Dial: o.dialer.DialContext, Vanishing: 3, Cancelling: 2})
	}
	o.visitor = &load.Visitor{Name: "someone", URL: o.server.role(t, "someone", ""), Dial: o.dialer.DialContext, Failed: fails}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, c := range o.steady {
		running.Go(func() { c.Run(ctx) })
	}
	for _, h := range o.hostile {
		running.Go(func() { h.Run(ctx) })
	}
	running.Go(func() { o.visitor.Run(ctx) })
	return func() { cancel(); running.Wait(); o.beside.Wait() }
}

// disturb takes the steps, each at its time or, if those before took long, at once.
func (o *oracle) disturb(t *testing.T, steps []step) {
	t.Helper()
	begun := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(begun.Add(s.at)))
		o.timeline.note("%s", s.kind)
		o.disturbances()[s.kind](t, s)
	}
	time.Sleep(time.Until(begun.Add(*oracleDuration)))
}

// proves checks that the run had something to prove.
func (o *oracle) proves(t *testing.T) {
	t.Helper()
	var served, renewed int64
	for _, c := range o.steady {
		served, renewed = served+c.Served.Load(), renewed+c.Renewed.Load()
	}
	var vanished, cancelled int64
	for _, h := range o.hostile {
		vanished, cancelled = vanished+h.Vanished.Load(), cancelled+h.Cancelled.Load()
	}
	visits, seconds := o.visitor.Visits.Load(), int64(oracleDuration.Seconds())
	t.Logf("%s\n%d queries of well-behaved clients, %d connections renewed; %d clients vanished, %d cancelled; %d visits of someone else\n%s",
		o.seen.report(), served, renewed, vanished, cancelled, visits, o.excuses.report())
	if o.seen.samples < samplesPerSecond*seconds || served < queriesPerSecond*seconds || visits < seconds {
		t.Errorf("%d samples, %d queries and %d visits in %d s prove little", o.seen.samples, served, visits, seconds)
	}
	if o.seen.used < usedPercent {
		t.Errorf("at most %d %% of the budget was in use, want %d", o.seen.used, usedPercent)
	}
	if vanished == 0 || cancelled == 0 {
		t.Error("the hostile clients did nothing")
	}
}

// clearAway removes the pools while the operator still lives, and then the operator.
func (o *oracle) clearAway(t *testing.T) {
	t.Helper()
	upstream := o.upstreamOf(t, o.pools[0])
	for _, pool := range slices.Backward(o.pools) {
		o.remove(t, pool)
	}
	o.delete(t, upstream) // The operator leaves it: the administrator has written into it.
	eventually(t, "the server's Upstream is gone", func() error { return absent(t, o.world, upstream) })
	if err := o.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}
