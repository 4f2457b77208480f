// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// leadsTo points a host to a server.
func leadsTo(host string, observation postgres.Observation) {
	servers.set(host+":5432", answer{observation: observation})
}

// restarted is a server that was started anew.
func restarted(o postgres.Observation) postgres.Observation {
	o.StartTime = o.StartTime.Add(time.Hour)
	return o
}

// lookAgain has a pool look at its server now. The others keep their time.
func lookAgain(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	change(t, pool, func() {
		seconds := &pool.Spec.Upstream.ProbeIntervalSeconds
		*seconds = max(*seconds, 600) + 1
	})
}

func atMost(connections int32) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) { p.Spec.ServerConnections.Maximum = connections }
}

// isOn waits until a pool is on an Upstream of this name.
func isOn(t *testing.T, pool *poolv1.ConnectionPool, upstream string) {
	t.Helper()
	upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.Name).To(gomega.Equal(upstream)) })
}

// onOneServer makes two pools that name one server by two names, and returns its Upstream.
func onOneServer(t *testing.T, most int32) (first, second *poolv1.ConnectionPool, hosts [2]string, u *poolv1.Upstream) {
	t.Helper()
	ns := namespace(t)
	hosts[0], hosts[1] = server(t, 100), server(t, 100)
	leadsTo(hosts[1], observed(hosts[0], 100))
	first = serve(t, ns, "first", hosts[0], atMost(most))
	u = upstreamFor(t, first, func(gomega.Gomega, *poolv1.Upstream) {})
	second = serve(t, ns, "second", hosts[1], atMost(most))
	isOn(t, second, u.Name)
	u = upstreamFor(t, first, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(addresses(u)).To(gomega.Equal([]string{hosts[0] + ":5432", hosts[1] + ":5432"}))
	})
	return first, second, hosts, u
}

func addresses(u *poolv1.Upstream) []string {
	var out []string
	for _, e := range u.Status.Endpoints {
		out = append(out, e.Address)
	}
	return out
}

func uidsOf(u *poolv1.Upstream) []string {
	var out []string
	for _, e := range u.Status.Ledger {
		out = append(out, e.UID)
	}
	return out
}

// movesOf are the events that tell of a pool's move.
func movesOf(t *testing.T, pool *poolv1.ConnectionPool) int {
	t.Helper()
	var list eventsv1.EventList
	if err := api.List(t.Context(), &list, client.InNamespace(pool.Namespace)); err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool {
		return e.Reason != poolv1.EventMoved || e.Regarding.Name != pool.Name
	}))
}

// sums watches what several Upstreams grant and hold together, at every write.
type sums struct {
	mu      sync.Mutex
	ledgers map[string][]poolv1.LedgerEntry
	// granted and held are the sums after each write.
	granted, held []int32
}

func watchSums(t *testing.T, names ...string) *sums {
	t.Helper()
	s := &sums{ledgers: map[string][]poolv1.LedgerEntry{}}
	watcher, err := api.Watch(t.Context(), &poolv1.UpstreamList{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for event := range watcher.ResultChan() {
			if u, ok := event.Object.(*poolv1.Upstream); ok && slices.Contains(names, u.Name) {
				s.note(u)
			}
		}
	}()
	eventually(t, func(g gomega.Gomega) {
		s.mu.Lock()
		defer s.mu.Unlock()
		g.Expect(s.ledgers).To(gomega.HaveLen(len(names)))
	})
	return s
}

func (s *sums) note(u *poolv1.Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledgers[u.Name] = u.Status.Ledger
	var granted, held int32
	for _, ledger := range s.ledgers {
		for _, e := range ledger {
			granted, held = granted+*e.Granted, held+*e.Held
		}
	}
	s.granted, s.held = append(s.granted, granted), append(s.held, held)
}

// neverAbove checks that the sums stayed within a budget, or only fell towards it.
func (s *sums) neverAbove(t *testing.T, budget int32) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, series := range [][]int32{s.granted, s.held} {
		for i, now := range series {
			if now > budget && (i == 0 || now > series[i-1]) && i >= len(s.ledgers) {
				t.Errorf("write %d: %d of a budget of %d; all: %v", i, now, budget, series)
				return
			}
		}
	}
}

// unlike makes two pools on two Upstreams whose servers look different, until the
// function it returns lets the second host be known as the first.
func unlike(t *testing.T, most int32) (elder, younger *poolv1.ConnectionPool, reveal func()) {
	t.Helper()
	ns := namespace(t)
	a, b := server(t, 100), server(t, 100)
	hidden := observed(a, 100)
	hidden.SystemIdentifier, hidden.ServerAddress, hidden.ServerPort = "", "10.9.8.7", 5432
	leadsTo(b, hidden)
	elder = serve(t, ns, "elder", a, atMost(most))
	known(t, elder)
	younger = serve(t, ns, "younger", b, atMost(most))
	known(t, younger)
	if elder.Status.Upstream.Name == younger.Status.Upstream.Name {
		t.Fatal("what is not known counts as the same server")
	}
	return elder, younger, func() {
		leadsTo(b, observed(a, 100))
		lookAgain(t, younger)
	}
}

// known waits until a pool's server stands written.
func known(t *testing.T, pool *poolv1.ConnectionPool) *poolv1.Upstream {
	t.Helper()
	return upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Server.StartTime).NotTo(gomega.BeEmpty())
		g.Expect(u.Status.Pools).NotTo(gomega.BeEmpty())
	})
}

func TestTwoUpstreamsThatProveToBeOneServerBecomeOne(t *testing.T) {
	elder, younger, reveal := unlike(t, 40)
	a, b := podOf(t, elder, "elder-a"), podOf(t, younger, "younger-a")
	grantOf(t, a, 40)
	grantOf(t, b, 40)
	into, from := known(t, elder), known(t, younger)
	seen := watchSums(t, into.Name, from.Name)
	reveal()

	isOn(t, younger, into.Name)
	upstreamFor(t, elder, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(addresses(u)).To(gomega.HaveLen(2))
		g.Expect(u.Status.Pools).To(gomega.HaveLen(2))
	})
	told(t, from, poolv1.EventMerged)
	// 52 of 92 are left while the pod that is to go holds its 40 under the other name.
	c := podOf(t, younger, "younger-b")
	grantOf(t, c, 26)
	grantOf(t, a, 26)
	if err := api.Delete(t.Context(), b, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	grantOf(t, c, 40)
	eventually(t, func(g gomega.Gomega) {
		err := api.Get(t.Context(), client.ObjectKeyFromObject(from), from)
		g.Expect(apierrors.IsNotFound(err) || len(from.Status.Ledger)+len(from.Status.Pools) == 0).To(gomega.BeTrue(), "the emptied Upstream is not empty")
		g.Expect(movesOf(t, younger)).To(gomega.Equal(1))
	})
	seen.neverAbove(t, 92)
	if n := movesOf(t, elder); n != 0 {
		t.Errorf("the pool that stayed was moved %d times", n)
	}
}

func TestAServerThatWasGrantedTwiceShrinksToItsBudgetAndNobodyIsCut(t *testing.T) {
	elder, younger, reveal := unlike(t, 92)
	a, b := podOf(t, elder, "elder-a"), podOf(t, younger, "younger-a")
	grantOf(t, a, 92)
	grantOf(t, b, 92)
	into, from := known(t, elder), known(t, younger)
	seen := watchSums(t, into.Name, from.Name)
	reveal()

	// Each side keeps half, until the pods that take over are there.
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	isOn(t, younger, into.Name)
	c := podOf(t, younger, "younger-b")
	grantOf(t, c, 23)
	grantOf(t, a, 23)
	if err := api.Delete(t.Context(), b, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	grantOf(t, c, 46)
	grantOf(t, a, 46)
	seen.neverAbove(t, 92)
}

func TestAServerAndItsCloneAreTwo(t *testing.T) {
	ns, host, other := namespace(t), server(t, 100), server(t, 100)
	leadsTo(other, restarted(observed(host, 100)))
	original, clone := known(t, serve(t, ns, "original", host)), known(t, serve(t, ns, "clone", other))
	if original.Name == clone.Name || original.Status.Server.SystemIdentifier != clone.Status.Server.SystemIdentifier {
		t.Errorf("the original is on %s, its clone on %s", original.Name, clone.Name)
	}
}

func TestAStandbyIsNoServerForPoolsUntilItIsPromoted(t *testing.T) {
	ns, host, other := namespace(t), server(t, 100), server(t, 100)
	standby := restarted(observed(host, 100))
	standby.InRecovery = true
	leadsTo(other, standby)
	primary := known(t, serve(t, ns, "primary", host))
	replica := serve(t, ns, "replica", other)
	says(t, replica, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonInRecovery)
	standby.InRecovery = false
	leadsTo(other, standby)
	lookAgain(t, replica)
	if promoted := known(t, replica); promoted.Name == primary.Name {
		t.Error("a promoted standby shares the ledger of the server that it was a copy of")
	}
}

func TestAServerThatClaimsToBeAnotherWithOtherLimitsIsNot(t *testing.T) {
	ns, host, other := namespace(t), server(t, 100), server(t, 100)
	leadsTo(other, observed(host, 6))
	honest, hostile := known(t, serve(t, ns, "honest", host)), known(t, serve(t, ns, "hostile", other))
	if honest.Name == hostile.Name {
		t.Error("a server joined another's ledger although its limits, which need a restart to change, differ")
	}
}

func TestANameThatIsPointedToAnotherServerTakesItsPoolsAlong(t *testing.T) {
	first, second, hosts, u := onOneServer(t, 46)
	a, b := podOf(t, first, "first-a"), podOf(t, second, "second-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	// The name that the Upstream was made for leads elsewhere now, the other does not.
	leadsTo(hosts[0], restarted(observed(hosts[0], 50)))
	lookAgain(t, first)
	to := upstreamFor(t, first, func(g gomega.Gomega, to *poolv1.Upstream) {
		g.Expect(to.Name).NotTo(gomega.Equal(u.Name))
		g.Expect(to.Status.Capacity.MaxConnections).To(gomega.HaveValue(gomega.Equal(int32(50))))
	})
	if !slices.Equal(addresses(to), []string{hosts[0] + ":5432"}) || len(to.Status.Ledger) != 0 {
		t.Errorf("the new Upstream has endpoints %v and %d entries", addresses(to), len(to.Status.Ledger))
	}
	isOn(t, second, u.Name)
	from := upstreamFor(t, second, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(addresses(u)).To(gomega.Equal([]string{hosts[1] + ":5432"}))
		g.Expect(u.Status.Pools).To(gomega.HaveLen(1))
	})
	if !slices.Contains(uidsOf(from), string(a.UID)) {
		t.Error("the pod of the pool that left is in no ledger, and may hold connections")
	}
	fresh := podOf(t, first, "first-b")
	grantOf(t, fresh, 44)
	grantOf(t, b, 46)
	eventually(t, func(g gomega.Gomega) { g.Expect(movesOf(t, first)).To(gomega.Equal(1)) })
	if n := movesOf(t, second); n != 0 {
		t.Errorf("the pool whose name did not change was moved %d times", n)
	}
}

func TestAServerReplacedBehindItsNameKeepsItsLedger(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "replaced", host)
	pod := podOf(t, pool, "replaced-a")
	grantOf(t, pod, 92)
	before := known(t, pool)
	next := observed(server(t, 50), 50)
	leadsTo(host, next)
	lookAgain(t, pool)
	grantOf(t, pod, 44)
	after := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Capacity.Budget).To(gomega.HaveValue(gomega.Equal(int32(44))))
		g.Expect(u.Status.Server.SystemIdentifier).To(gomega.Equal(next.SystemIdentifier))
	})
	if after.UID != before.UID || !slices.Contains(uidsOf(after), string(pod.UID)) {
		t.Errorf("Upstream %s became %s, with entries %v", before.Name, after.Name, uidsOf(after))
	}
}

func TestAFailoverOfAllNamesMovesNobody(t *testing.T) {
	first, second, hosts, u := onOneServer(t, 46)
	a, b := podOf(t, first, "first-a"), podOf(t, second, "second-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	promoted, looks := restarted(observed(hosts[0], 100)), servers.looksAt(hosts[1])
	leadsTo(hosts[0], promoted)
	leadsTo(hosts[1], promoted)
	lookAgain(t, first)
	after := upstreamFor(t, first, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Server.StartTime).To(gomega.Equal(promoted.StartTime.UTC().Format(time.RFC3339Nano)))
	})
	if after.UID != u.UID || len(after.Status.Ledger) != 2 {
		t.Errorf("Upstream %s became %s, with %d entries", u.Name, after.Name, len(after.Status.Ledger))
	}
	if servers.looksAt(hosts[1]) == looks {
		t.Error("the other name was not looked at before it was taken to lead to the new primary")
	}
	isOn(t, second, u.Name)
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	if n := movesOf(t, first) + movesOf(t, second); n != 0 {
		t.Errorf("%d moves were told", n)
	}
}

func TestNothingIsRaisedWhileNamesOfOneServerContradictEachOther(t *testing.T) {
	first, second, hosts, u := onOneServer(t, 46)
	a := podOf(t, first, "first-a")
	grantOf(t, a, 46)
	goOn := servers.slowDown(hosts[1])
	leadsTo(hosts[0], restarted(observed(hosts[0], 200)))
	lookAgain(t, first)
	says(t, first, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
		g.Expect(strings.Join(u.Status.Account, "\n")).To(gomega.ContainSubstring("different servers"))
	})
	b := podOf(t, second, "second-a")
	quietFor(t)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
		t.Fatal(err)
	}
	if grant := b.Annotations[poolv1.GrantAnnotation]; strings.Contains(grant, `"share":46`) {
		t.Errorf("a pod was granted connections of a server that may be another: %s", grant)
	}
	goOn()
	grantOf(t, b, 46)
	isOn(t, second, u.Name)
}

func TestAPoolWhoseSecretSpellsItsServerAnewStays(t *testing.T) {
	ns, host, alias := namespace(t), server(t, 100), server(t, 100)
	leadsTo(alias, observed(host, 100))
	pool := serve(t, ns, "respelled", host)
	pod := podOf(t, pool, "respelled-a")
	grantOf(t, pod, 92)
	u := known(t, pool)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "respelled-db"}}
	change(t, secret, func() {
		secret.StringData = map[string]string{"DATABASE_URL": "postgresql://shop:" + upstreamPassword + "@" + alias + "/shop?sslmode=require"}
	})
	after := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(addresses(u)).To(gomega.Equal([]string{alias + ":5432"}))
	})
	if after.UID != u.UID || movesOf(t, pool) != 0 {
		t.Errorf("the pool moved from %s to %s", u.Name, after.Name)
	}
}
