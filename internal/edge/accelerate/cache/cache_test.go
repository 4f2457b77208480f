// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cache, the time of a bubble, and a server that says how often it was asked.
type world struct {
	*Cache
	t       *testing.T
	asked   atomic.Int64
	scope   Scope
	failure atomic.Pointer[error]
	failed  atomic.Int64
}

func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	within(t, Limits{Bytes: 1 << 20, EntryBytes: 1 << 16, Refreshes: 2, Timeout: time.Minute}, test)
}

func within(t *testing.T, limits Limits, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		c, err := New(limits, func(error) { w.failed.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w.Cache, w.scope = c, c.ScopeOf("shop", "app", "secret")
		test(w)
	})
}

func (w *world) serve(context.Context) ([]byte, error) {
	n := w.asked.Add(1)
	if failure := w.failure.Load(); failure != nil {
		return nil, *failure
	}
	return fmt.Appendf(nil, "result %d", n), nil
}

// expect asks, and compares.
func (w *world) expect(policy Policy, status Status, body string) {
	w.t.Helper()
	w.expectIn(w.scope, policy, status, body)
}

func (w *world) expectIn(scope Scope, policy Policy, status Status, body string) {
	w.t.Helper()
	answer, err := w.Get(w.t.Context(), scope, DigestOf([]byte("query")), policy, w.serve)
	if err != nil || answer.Status != status || string(answer.Body) != body {
		w.t.Errorf("the answer is %q, %q, %v; it should be %q, %q", answer.Status, answer.Body, err, status, body)
	}
}

var minute = Policy{TTL: time.Minute, SWR: time.Minute}

func TestAResultIsNewThenOldThenGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(minute, Miss, "result 1")
		w.expect(minute, Fresh, "result 1")
		time.Sleep(90 * time.Second)
		w.expect(minute, Stale, "result 1")
		synctest.Wait()
		w.expect(minute, Fresh, "result 2")
		time.Sleep(2 * time.Minute)
		w.expect(minute, Miss, "result 3")
		if got, want := w.Stats(), (Stats{Fresh: 2, Stale: 1, Misses: 2, Refreshes: 1}); got.Fresh != want.Fresh ||
			got.Stale != want.Stale || got.Misses != want.Misses || got.Refreshes != want.Refreshes {
			t.Errorf("it counts %+v", got)
		}
	})
}

func TestWithoutAPolicyNothingIsKept(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(Policy{}, None, "result 1")
		w.expect(Policy{}, None, "result 2")
		w.expect(minute, Miss, "result 3")
		w.expect(Policy{}, None, "result 4")
	})
}

func TestResultsAreNotSharedBetweenScopesOrPolicies(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(minute, Miss, "result 1")
		w.expectIn(w.ScopeOf("shop", "app", "other"), minute, Miss, "result 2")
		w.expectIn(w.ScopeOf("shop", "appsecret", ""), minute, Miss, "result 3")
		w.expect(Policy{TTL: time.Minute, Tags: []string{"a"}}, Miss, "result 4")
		w.expect(minute, Fresh, "result 1")
	})
}

func TestScopesOfTwoReplicasHaveNothingInCommon(t *testing.T) {
	inWorld(t, func(w *world) {
		other, err := New(DefaultLimits, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if other.ScopeOf("shop", "app", "secret") == w.scope {
			t.Error("whoever knows a credential can tell its hash")
		}
	})
}

func TestAnErrorIsNotKept(t *testing.T) {
	inWorld(t, func(w *world) {
		wrong := errors.New("the server is away")
		w.failure.Store(&wrong)
		if _, err := w.Get(w.t.Context(), w.scope, Digest{}, minute, w.serve); !errors.Is(err, wrong) {
			t.Errorf("the error is %v", err)
		}
		w.failure.Store(nil)
		if answer, err := w.Get(w.t.Context(), w.scope, Digest{}, minute, w.serve); err != nil || answer.Status != Miss {
			t.Errorf("then it answers %+v, %v", answer, err)
		}
	})
}

func TestAnOldResultOutlivesAServerThatIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(minute, Miss, "result 1")
		time.Sleep(90 * time.Second)
		wrong := errors.New("the server is away")
		w.failure.Store(&wrong)
		w.expect(minute, Stale, "result 1")
		synctest.Wait()
		w.expect(minute, Stale, "result 1")
		synctest.Wait()
		w.failure.Store(nil)
		w.expect(minute, Stale, "result 1")
		synctest.Wait()
		w.expect(minute, Fresh, "result 4")
		if got := w.Stats(); got.FailedRefreshes != 2 || w.failed.Load() != 2 {
			t.Errorf("it counts %+v, and tells of %d", got, w.failed.Load())
		}
	})
}

func TestAResultThatIsTooLongIsGivenAwayButNotKept(t *testing.T) {
	inWorld(t, func(w *world) {
		long := func(context.Context) ([]byte, error) { return make([]byte, 1<<16+1), nil }
		for range 2 {
			if answer, err := w.Get(w.t.Context(), w.scope, Digest{}, minute, long); err != nil || answer.Status != Miss || len(answer.Body) != 1<<16+1 {
				t.Errorf("it answers %s with %d bytes, %v", answer.Status, len(answer.Body), err)
			}
		}
	})
}

func TestAllThatIsKeptHasABound(t *testing.T) {
	inWorld(t, func(w *world) {
		body := bytes.Repeat([]byte("x"), 1<<15)
		for i := range 200 {
			digest := DigestOf(fmt.Append(nil, i))
			if _, err := w.Get(w.t.Context(), w.scope, digest, minute, func(context.Context) ([]byte, error) { return body, nil }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		w.kept.CleanUp()
		if got := w.Stats(); got.Bytes > 1<<20 || got.Entries < 16 {
			t.Errorf("it keeps %+v", got)
		}
	})
}

func TestClientsReadInTheHeaderWhereAResultComesFrom(t *testing.T) {
	header := http.Header{}
	Answer{Status: Stale, At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))}.SetHeader(header)
	if header.Get("accelerate-cache-status") != "swr" || header.Get("last-modified") != "Fri, 02 Jan 2026 02:04:05 GMT" {
		t.Errorf("the header is %v", header)
	}
}

func TestTheCacheShowsWhatItDoes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(minute, Miss, "result 1")
		w.expect(minute, Fresh, "result 1")
		w.expect(minute, Fresh, "result 1")
		w.Invalidate(w.scope, Invalidation{All: true})
		synctest.Wait()
		w.kept.CleanUp() // It weighs what is new in the background.
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(w)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				name := strings.TrimPrefix(family.GetName(), "poolfleet_edge_cache_")
				for _, label := range metric.GetLabel() {
					name += " " + label.GetValue()
				}
				got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
		want := map[string]float64{
			"results_total miss": 1, "results_total swr": 0, "results_total ttl": 2, "invalidations_total": 1,
			"refreshes_total": 0, "failed_refreshes_total": 0, "entries": 1, "bytes": entryOverhead + 8,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
