// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

var failoverGap = flag.Duration("failover.gap", 0, "how long a killed primary goes unnoticed, in TestFailover")

// TestFailover has a pool of a primary and one of its standby, each under a Service
// that an operator of databases switches, and clients that check a connection before
// use. The primary is switched over in a pause, then it dies.
func TestFailover(t *testing.T) {
	w := connect(t)
	w.install(t)
	f := w.failover(t)
	stop := f.serve(t)
	defer stop()
	defer func() { f.dismiss() }()
	for _, scene := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"a standby where the primary is expected is reported, and the pool serves what it had", f.careful(f.strays)},
		{"a pool of the standby has a budget of its own and takes no writes", f.careful(f.reads)},
		{"the primary is switched over in a pause, and the promoted standby is reported", f.careful(f.switchesOver)},
		{"a new standby is followed", f.careful(f.rejoins)},
		{"the primary is killed and the standby promoted", f.losesPrimary},
		{"the pools are well again", f.careful(f.serves)},
	} {
		if !t.Run(scene.name, scene.do) {
			t.FailNow() // Each begins where the one before ended.
		}
	}
	f.dismiss()
	stop()
	f.remove(t, f.read)
	f.remove(t, f.pool)
	if err := f.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// careful does something that no client may notice.
func (f *failover) careful(do func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { t.Helper(); f.unharmed(t, do) }
}

// serves has the clients of both pools ask.
func (f *failover) serves(t *testing.T) {
	t.Helper()
	f.awaitQueries(t)
	f.awaitReaders(t)
}

// strays has the primary's Service lead to a standby for a while.
func (f *failover) strays(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() {
		from := time.Now()
		f.lead(t, f.primaries, f.standby)
		f.awaitCondition(t, f.pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonInRecovery)
		f.awaitEvent(t, f.pool, poolv1.ReasonInRecovery)
		t.Logf("reported after %.1f s", time.Since(from).Seconds())
		if crowd := f.crowd(t, "select pg_sleep(1)"); crowd.Served != crowded {
			t.Errorf("%d of %d more clients were served meanwhile, one failed so: %v", crowd.Served, crowded, crowd.Err)
		}
		f.lead(t, f.primaries, f.primary)
		f.awaitWell(t)
		f.awaitServer(t, f.pool, f.primary)
		eventually(t, "all connections take writes again", func() error {
			return f.crowd(t, "begin read write; select pg_sleep(0.3); commit").Err
		})
		t.Logf("all was well again after %.1f s", time.Since(from).Seconds())
	})
}

// crowded is how many clients need more server connections than the others have.
const crowded = 40

// crowd has so many more clients run something at once, so that poolers have to open
// connections and to use all they have.
func (f *failover) crowd(t *testing.T, statement string) load.Result {
	t.Helper()
	result, err := load.Clients{
		URL: string(f.published(t, f.pool).Data["DATABASE_URL"]), Dial: f.dialer.DialContext,
		Count: crowded, Statement: statement, Rounds: 1, Timeout: time.Minute,
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// reads makes a pool of the standby, and lets clients in there, too.
func (f *failover) reads(t *testing.T) {
	t.Helper()
	f.create(t, aSecret(f.namespace, "reports-db", f.through(f.standbys)))
	f.create(t, f.read)
	f.awaitReady(t, f.read)
	f.awaitReady(t, f.pool)
	f.ownBudgets(t)
	f.admit(t)
	_, err := f.query(t.Context(), string(f.published(t, f.read).Data["DATABASE_URL"]), "create table forbidden ()")
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || answer.Code != readOnlyTransaction {
		t.Errorf("a write through the pool of the standby came to %v, want SQLSTATE %s", err, readOnlyTransaction)
	}
	if _, err := f.query(t.Context(), string(f.published(t, f.pool).Data["DATABASE_URL"]), "create table allowed ()"); err != nil {
		t.Errorf("a write through the pool of the primary: %v", err)
	}
}

// readOnlyTransaction is the SQLSTATE of a write at a standby. Source: PostgreSQL,
// Appendix A, PostgreSQL Error Codes.
const readOnlyTransaction = "25006"

// ownBudgets checks that each pool has the budget of the server that it names.
func (f *failover) ownBudgets(t *testing.T) {
	t.Helper()
	f.awaitServer(t, f.pool, f.primary)
	f.awaitServer(t, f.read, f.standby)
	ours, theirs := f.upstreamOf(t, f.pool), f.upstreamOf(t, f.read)
	if ours.Name == theirs.Name || ours.Status.Server.SystemIdentifier != theirs.Status.Server.SystemIdentifier {
		t.Errorf("the primary is on Upstream %s, its standby on %s; they are two servers of one cluster", ours.Name, theirs.Name)
	}
}

// switchesOver is a planned switchover: nobody's query is at the old primary when it
// stops, and the standby has all it wrote.
func (f *failover) switchesOver(t *testing.T) {
	t.Helper()
	within := f.within(t, f.standby)
	f.inPlace(t, func() {
		f.change(t, f.pool, func() { f.pool.Spec.State = poolv1.PoolPaused })
		f.awaitHeld(t, f.pool)
		paused := time.Now()
		if err := f.primary.Stop(t.Context(), f.tools); err != nil {
			t.Fatal(err)
		}
		f.promote(t)
		f.change(t, f.pool, func() { f.pool.Spec.State = poolv1.PoolRunning })
		t.Logf("stopped, promoted and switched in %.1f s", time.Since(paused).Seconds())
		f.awaitServer(t, f.pool, f.primary)
		f.awaitWell(t)
		t.Logf("well on the new primary %.1f s after the pause began", time.Since(paused).Seconds())
		f.awaitPromotionTold(t)
	})
	f.awaitSettled(t, f.pool, f.read)
	within(t)
}

// promote makes the standby the primary, and has the primaries' Service lead to it. It
// does not wait until it does: whoever resumes too early is to fail nobody.
func (f *failover) promote(t *testing.T) {
	t.Helper()
	f.standby.run(t, "select pg_promote()")
	f.primary, f.standby = f.standby, f.primary
	f.lead(t, f.primaries, f.primary)
}

// awaitPromotionTold waits until the pool of the standby has said that its server is
// none any more. It serves all the while, by the same budget as the other pool.
func (f *failover) awaitPromotionTold(t *testing.T) {
	t.Helper()
	from := time.Now()
	f.awaitCondition(t, f.read, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonNotInRecovery)
	f.awaitEvent(t, f.read, poolv1.ReasonNotInRecovery)
	f.awaitReady(t, f.read)
	f.awaitOneBudget(t)
	t.Logf("the promotion was told, and both pools share a budget, after %.1f s more", time.Since(from).Seconds())
	f.awaitReaders(t)
}

// awaitOneBudget waits until both pools are in the account of one Upstream, and what
// is granted fits.
func (f *failover) awaitOneBudget(t *testing.T) {
	t.Helper()
	eventually(t, "both pools share the budget of one server", func() error {
		f.get(t, f.pool)
		f.get(t, f.read)
		upstream := f.upstreamOf(t, f.pool)
		if f.read.Status.Upstream.Name != upstream.Name || len(upstream.Status.Pools) != 2 {
			return fmt.Errorf("they are on %s and %s", upstream.Name, f.read.Status.Upstream.Name)
		}
		return withinBudget(upstream)
	})
}

// rejoins makes a new standby, larger than the primary, of what was the primary before.
func (f *failover) rejoins(t *testing.T) {
	t.Helper()
	from := time.Now()
	f.follow(t, 100)
	f.lead(t, f.standbys, f.standby)
	t.Logf("the new standby answers after %.1f s", time.Since(from).Seconds())
	f.awaitReady(t, f.read)
	f.inPlace(t, func() {
		f.ownBudgets(t)
		t.Logf("the pool of the standby has its budget after %.1f s", time.Since(from).Seconds())
		f.awaitSettled(t, f.pool)
		f.awaitSettled(t, f.read)
	})
	f.awaitReaders(t)
}

// losesPrimary is a failover that nobody planned.
func (f *failover) losesPrimary(t *testing.T) {
	t.Helper()
	within := f.within(t, f.standby)
	f.awaitQueries(t)
	f.longestWait()
	before := f.tally().failed
	f.inPlace(t, func() {
		killed := time.Now()
		if err := f.primary.Kill(t.Context(), f.tools); err != nil {
			t.Fatal(err)
		}
		down := time.Now()
		time.Sleep(*failoverGap)
		f.promote(t)
		switched := time.Now()
		f.awaitQueries(t)
		served := time.Now()
		f.awaitServer(t, f.pool, f.primary)
		f.awaitWell(t)
		f.awaitPromotionTold(t)
		t.Logf("killed within %.1f s; promoted and switched after %.1f s, clients served again after %.1f s, budget of the new server in force after %.1f s; the longest wait of a client was %.1f s",
			down.Sub(killed).Seconds(), switched.Sub(killed).Seconds(), served.Sub(killed).Seconds(), time.Since(killed).Seconds(), f.longestWait().Seconds())
		f.told(t, before, killed, switched)
	})
	f.awaitQueries(t)
	f.awaitReaders(t)
	within(t)
}

// told logs failures by their kind, and checks that they are what the loss of a server
// comes to, and that nobody failed who had no part in it.
func (f *failover) told(t *testing.T, before int, killed, switched time.Time) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := map[string]int{}
	var last time.Time
	for _, failure := range f.failures[before:] {
		kinds[fmt.Sprintf("%s, %s: %v", failure.Client, failure.Doing, failure.Err)]++
		if last.Before(failure.Until) {
			last = failure.Until
		}
		if failure.Client == readers || !lostServer(failure.Err) {
			t.Errorf("a client of %s failed %.1f s after the primary was killed: %v", failure.Client, failure.Until.Sub(killed).Seconds(), failure.Err)
		}
	}
	lines := make([]string, 0, len(kinds))
	for kind, times := range kinds {
		lines = append(lines, fmt.Sprintf("%d times %s", times, kind))
	}
	slices.Sort(lines)
	t.Logf("%d queries failed, the last %.1f s after the kill and %.1f s after the switch; of clients that do not check, %d ever\n    %s", len(f.failures)-before,
		last.Sub(killed).Seconds(), last.Sub(switched).Seconds(), f.broken, strings.Join(lines, "\n    "))
}

// lostServer reports whether PgBouncer says that the server of a query is gone, or that
// none is to be had. Source: PgBouncer src/server.c and src/objects.c.
func lostServer(err error) bool {
	said := err.Error()
	return strings.Contains(said, "server conn crashed?") || strings.Contains(said, "server login has been failing") ||
		strings.Contains(said, "server closed connection") || strings.Contains(said, "terminating connection")
}
