// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

var fleetRounds = flag.Int("fleet.rounds", 1, "how often what a person changes is changed, in TestFleet")

// fleet is a pool of three poolers whose clients stay for as long as they can.
type fleet struct {
	*world
	namespace string
	server    *server
	direct    string
	pool      *poolv1.ConnectionPool
	// steady check a connection before use, trusting do not.
	steady, trusting []*load.Steady
	// node check, too, and half of them verify the server's certificate.
	node *nodeClients

	mu       sync.Mutex
	failures []load.Failure
	// broken is how many queries of trusting clients failed.
	broken int
}

// TestFleet changes everything that a person changes in the life of a pool, while 80
// clients of pgx and node-postgres use it that keep their connections and check them
// before use: none of their queries may fail. Clients that do not check are counted.
func TestFleet(t *testing.T) {
	w := connect(t)
	w.install(t)
	f := w.fleet(t)
	stop := f.serve(t)
	defer stop()
	for _, change := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"a rolling update", f.rollsOut},
		{"pods are evicted", f.evicts},
		{"settings change in place", f.reloads},
		{"the pool autoscales by its CPU use", f.autoscales},
		{"the pool scales to one pooler and back", f.scales},
		{"the operator is replaced", f.replacesOperator},
		{"credentials are rotated", f.rotates},
		{"certificates change", f.certificates},
		{"the database's password changes, there first", f.passwordChanges},
		{"the database's password changes, in the Secret first", f.passwordChangesInReverse},
		{"the server is restarted during a pause", f.pauses},
	} {
		for range *fleetRounds {
			t.Run(change.name, func(t *testing.T) { f.unharmed(t, change.do) })
		}
	}
	stop()
	t.Run("cancel requests reach the right pooler", f.cancels)
	t.Run("the pool scales to zero and back", f.rests)
	f.remove(t, f.pool)
	if err := f.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) fleet(t *testing.T, edits ...func(*poolv1.ConnectionPoolSpec)) *fleet {
	t.Helper()
	f := &fleet{world: w, namespace: w.namespace(t)}
	f.server = w.startServer(t, install.Postgres{
		Namespace: f.namespace, Name: "postgres", Restartable: true, Settings: []string{"fsync=off", "max_connections=60"},
	})
	f.direct = f.server.role(t, "shop", "")
	f.pool = aPool(f.namespace, "shop", append(edits, lookingOften, withReplicas(3))...)
	f.create(t, aSecret(f.namespace, "shop-db", f.direct))
	f.create(t, f.pool)
	f.awaitWell(t) // So that clients come to all three.
	return f
}

// serve lets the clients in until the function it returns is called.
func (f *fleet) serve(t *testing.T) (stop func()) {
	t.Helper()
	node, stopNode := f.serveNode(t)
	f.node = node
	url := string(f.published(t, f.pool).Data["DATABASE_URL"])
	f.steady = nil
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		f.steady = append(f.steady, &load.Steady{Name: "careful", URL: url, Mode: mode, Count: 30, Failed: f.fails})
	}
	f.trusting = []*load.Steady{{Name: "trusting", URL: url, Mode: pgx.QueryExecModeSimpleProtocol, Count: 10, Trusting: true, Failed: f.breaks}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, c := range append(f.steady, f.trusting...) {
		c.Dial, c.Work, c.Rest, c.Lifetime = f.dialer.DialContext, 50*time.Millisecond, 150*time.Millisecond, time.Hour
		running.Go(func() { c.Run(ctx) })
	}
	return sync.OnceFunc(func() { cancel(); stopNode(); running.Wait() })
}

func (f *fleet) fails(failure load.Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, failure)
}

func (f *fleet) breaks(load.Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken++
}

// tally is what clients have met so far.
type tally struct {
	// servedNode are those of served that node-postgres asked for.
	served, servedNode, renewed int64
	failed, broken              int
}

func (f *fleet) tally() tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := tally{failed: len(f.failures), broken: f.broken, servedNode: f.node.served.Load(), renewed: f.node.renewed.Load()}
	sum.served = sum.servedNode
	for _, c := range f.steady {
		sum.served += c.Served.Load()
		sum.renewed += c.Renewed.Load()
	}
	return sum
}

// unharmed does something and checks that no careful client noticed more of it than
// that it had to wait, or to connect anew before a query.
func (f *fleet) unharmed(t *testing.T, do func(*testing.T)) {
	t.Helper()
	f.awaitQueries(t)
	before, began := f.tally(), time.Now()
	do(t)
	f.awaitQueries(t)
	after := f.tally()
	t.Logf("%.0f s: %d queries served (%d of them to node-postgres), %d failed, %d connections renewed; of the clients that do not check, %d queries failed", time.Since(began).Seconds(),
		after.served-before.served, after.servedNode-before.servedNode, after.failed-before.failed, after.renewed-before.renewed, after.broken-before.broken)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, failure := range f.failures[before.failed:after.failed] {
		if i < 5 {
			t.Errorf("at %s a client that was %s failed after %.3f s: %v", failure.Until.UTC().Format("15:04:05.000"),
				failure.Doing, failure.Until.Sub(failure.From).Seconds(), failure.Err)
		}
	}
}

// awaitQueries waits until there were queries enough for each client to have had some.
func (f *fleet) awaitQueries(t *testing.T) {
	t.Helper()
	from := f.tally()
	eventually(t, "clients have their queries answered", func() error {
		now := f.tally()
		if served, node := now.served-from.served, now.servedNode-from.servedNode; served < 240 || node < 40 {
			return fmt.Errorf("%d were, %d of them to node-postgres", served, node)
		}
		return nil
	})
}

// longestWait is how long a client wanted an answer at most since it was asked last.
func (f *fleet) longestWait() time.Duration {
	longest := f.node.longestWait()
	for _, c := range f.steady {
		longest = max(longest, c.LongestWait())
	}
	return longest
}

// running are the poolers by UID, and how often their containers started anew.
func (f *fleet) running(t *testing.T) map[types.UID]int32 {
	t.Helper()
	restarts := map[types.UID]int32{}
	for _, pod := range f.poolers(t, f.pool) {
		restarts[pod.UID] = 0
		for _, container := range pod.Status.ContainerStatuses {
			restarts[pod.UID] += container.RestartCount
		}
	}
	return restarts
}

// inPlace checks that something is done without another pod or container.
func (f *fleet) inPlace(t *testing.T, do func()) {
	t.Helper()
	before := f.running(t)
	do()
	after := f.running(t)
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("poolers were replaced or restarted: %v before, %v after", before, after)
	}
}
