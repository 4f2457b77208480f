// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// saying plays pods: what each says, by IP address, and who was asked at once.
type saying struct {
	mu       sync.Mutex
	say      map[string]contract.Status
	err      error
	asked    []string
	now, top int
}

func (a *saying) Ask(_ context.Context, ip string, _ []byte) (contract.Status, error) {
	a.mu.Lock()
	a.asked = append(a.asked, ip)
	a.now++
	a.top = max(a.top, a.now)
	a.mu.Unlock()
	time.Sleep(time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now--
	return a.say[ip], a.err
}

// polling is a server with so many pools of one settled pod each.
type polling struct {
	*BudgetReconciler
	answers *saying
	// reads is how often a Secret was read.
	reads int
	pools []poolv1.ConnectionPool
	pods  map[string]*corev1.Pod
	entry []budget.Entry
}

func newPolling(t *testing.T, pools int) *polling {
	t.Helper()
	p := &polling{answers: &saying{say: map[string]contract.Status{}}, pods: map[string]*corev1.Pod{}}
	document, _, err := contract.Document{Version: contract.DocumentVersion, StatusKey: make([]byte, statusKeyBytes)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	live := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			p.reads++
			return c.Get(ctx, key, o, opts...)
		},
	})
	for i := range pools {
		name := fmt.Sprintf("p%d", i)
		live.WithObjects(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: manifests.ConfigSecretName(name),
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConnectionPool", Name: name, UID: "u", Controller: new(true)}},
			},
			Data: map[string][]byte{contract.ConfigKey: document},
		})
		p.pools = append(p.pools, poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}})
		ip := fmt.Sprintf("10.0.0.%d", i)
		p.pods[name] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}, Status: corev1.PodStatus{PodIP: ip}}
		p.entry = append(p.entry, budget.Entry{UID: name, Namespace: "shop", Pod: name, Pool: name, Gen: 1, Granted: 5, Held: 5})
		p.answers.say[ip] = contract.Status{UID: name, Gen: 1, Cap: 5, Current: 5, Peak: 3}
	}
	p.BudgetReconciler = &BudgetReconciler{Live: live.Build(), Asker: p.answers, Records: NewRecords(), Clock: clock.RealClock{}}
	return p
}

// pass asks as a pass at this time does, and returns who was asked.
func (p *polling) pass(t *testing.T, now time.Time) []string {
	t.Helper()
	p.answers.asked = nil
	s := &sighting{
		now: now, upstream: "db", pods: maps.Clone(p.pods), acks: map[string]contract.Status{}, changed: map[types.NamespacedName]bool{},
		pools: p.pools, ledger: budget.Ledger{Gen: 1, Entries: slices.Clone(p.entry)},
	}
	s.facts.Claims = claims.Of(nil, p.pools)
	p.ask(t.Context(), s)
	slices.Sort(p.answers.asked)
	return p.answers.asked
}

var noon = time.Unix(1_700_000_000, 0)

func TestPodsThatCouldLendAreAskedEverySecond(t *testing.T) {
	p := newPolling(t, 2)
	both := []string{"10.0.0.0", "10.0.0.1"}
	for _, step := range []struct {
		at   time.Duration
		want []string
	}{{0, both}, {500 * time.Millisecond, nil}, {time.Second, both}, {1900 * time.Millisecond, nil}, {2 * time.Second, both}} {
		if diff := cmp.Diff(step.want, p.pass(t, noon.Add(step.at))); diff != "" {
			t.Errorf("asked after %s (-want +got):\n%s", step.at, diff)
		}
	}
}

func TestThePodOfALonePoolIsAskedNowAndThen(t *testing.T) {
	p := newPolling(t, 1)
	p.pass(t, noon)
	if asked := p.pass(t, noon.Add(9*time.Second)); asked != nil {
		t.Errorf("asked %v", asked)
	}
	if asked := p.pass(t, noon.Add(10*time.Second)); len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestAPodThatOwesAnAcknowledgementIsAskedInEveryPass(t *testing.T) {
	p := newPolling(t, 2)
	p.pass(t, noon)
	p.entry[1].Gen = 2
	for i := range 3 {
		if diff := cmp.Diff([]string{"10.0.0.1"}, p.pass(t, noon.Add(time.Duration(i+1)*100*time.Millisecond))); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	}
}

func TestAKeyIsReadOnceUntilAPodRefusesIt(t *testing.T) {
	p := newPolling(t, 3)
	for i := range 5 {
		p.pass(t, noon.Add(time.Duration(i)*time.Second))
	}
	if p.reads != 3 {
		t.Errorf("%d reads of 3 Secrets in 5 passes", p.reads)
	}
	p.answers.err = fmt.Errorf("asking: %w", errWrongKey)
	now := time.Now()
	p.pass(t, now)
	p.answers.err = nil
	if asked := p.pass(t, now.Add(time.Minute)); len(asked) != 3 || p.reads != 6 {
		t.Errorf("after they refused it, %d pods were asked with %d reads in all", len(asked), p.reads)
	}
}

func TestFewAreAskedAtOnce(t *testing.T) {
	p := newPolling(t, 100)
	if asked := p.pass(t, noon); len(asked) != 100 || p.answers.top > askedAtOnce {
		t.Errorf("%d were asked, %d at once", len(asked), p.answers.top)
	}
}

func TestASilentPodIsAskedMoreAndMoreSeldom(t *testing.T) {
	p := newPolling(t, 2)
	p.answers.err = context.DeadlineExceeded
	start := time.Now()
	var asked []time.Duration
	for at := time.Duration(0); at < time.Minute; at += 500 * time.Millisecond {
		if !p.Records.Askable("p0", start.Add(at)) {
			continue
		}
		asked = append(asked, at)
		p.Records.Silent("p0", start.Add(at))
	}
	if n := len(asked); n > 12 || asked[n-1] < 40*time.Second || asked[1] > time.Second {
		t.Errorf("asked at %v", asked)
	}
	p.pass(t, start)
	p.answers.err = nil
	if asked := p.pass(t, start.Add(2*time.Minute)); len(asked) != 2 || !p.Records.Askable("p0", start.Add(2*time.Minute)) {
		t.Errorf("a pod that answers again is still asked seldom: %v", asked)
	}
}

func TestUseIsKnownOnlyWhereAllPodsSpoke(t *testing.T) {
	p := newPolling(t, 2)
	p.entry = append(p.entry, budget.Entry{UID: "p0b", Namespace: "shop", Pod: "p0b", Pool: "p0", Gen: 1, Granted: 5, Held: 5})
	for at := time.Duration(0); at <= budget.DemandMemory+time.Second; at += time.Second {
		p.pass(t, noon.Add(at))
	}
	need, _ := p.Records.Demand(types.NamespacedName{Namespace: "shop", Name: "p1"})
	if need == nil || *need < 3 {
		t.Errorf("need of a pool whose pods answer: %v", need)
	}
	if need, _ := p.Records.Demand(types.NamespacedName{Namespace: "shop", Name: "p0"}); need != nil {
		t.Errorf("a pool of which a pod is silent needs %d", *need)
	}
	p.answers.say["10.0.0.0"] = contract.Status{UID: "p0", Gen: 1, Cap: 5, Current: 5, Peak: 5, Starved: 7}
	p.pass(t, noon.Add(budget.DemandMemory+2*time.Second))
	if need, starved := p.Records.Demand(types.NamespacedName{Namespace: "shop", Name: "p0"}); need == nil || *need < 12 || starved != 7 {
		t.Errorf("clients wait, and their pool needs %v for %d of them", need, starved)
	}
}

func TestRefusedLoginsAreCountedOverRestarts(t *testing.T) {
	r := NewRecords()
	var sum int64
	for i, total := range []int64{0, 3, 3, 5, 2, 2} {
		_, n := r.SetAck("pod", contract.Status{Refused: total}, noon.Add(time.Duration(i)*time.Second))
		sum += n
	}
	if sum != 7 {
		t.Errorf("counted %d of 5 and, after a restart, 2", sum)
	}
	if !r.Refusing("pod", noon.Add(30*time.Second)) || r.Refusing("pod", noon.Add(5*time.Minute)) {
		t.Error("a pod that was refused logins is not one for a minute")
	}
}

func TestAnOccasionIsToldOnceUntilItIsOver(t *testing.T) {
	r, o := NewRecords(), occasion{upstream: "db", what: "x"}
	var got []bool
	for _, step := range []struct {
		at time.Duration
		is bool
	}{{0, true}, {5 * time.Second, true}, {10 * time.Second, true}, {20 * time.Second, true}, {21 * time.Second, false}, {22 * time.Second, true}, {40 * time.Second, true}} {
		got = append(got, r.Tell(o, step.is, noon.Add(step.at), 10*time.Second))
	}
	if diff := cmp.Diff([]bool{false, false, true, false, false, false, true}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestAPodThatKnowsAnotherKeySaysSo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	asker := NewHTTPAsker()
	asker.client.Transport = rewrite{server.Listener.Addr().String()}
	if _, err := asker.Ask(t.Context(), "10.0.0.1", []byte("key")); !errors.Is(err, errWrongKey) {
		t.Errorf("got %v", err)
	}
}

// rewrite sends every request to one address.
type rewrite struct{ to string }

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Host = r.to
	return http.DefaultTransport.RoundTrip(req)
}
