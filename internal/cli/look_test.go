// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

var update = flag.Bool("update", false, "write the golden outputs anew")

// golden compares an output with the file of its name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestEveryGoldenOutputFits80Columns(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no golden outputs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > columns {
				t.Errorf("%s: does not fit: %s", file, line)
			}
		}
	}
}

func TestEveryHelpFits80Columns(t *testing.T) {
	s := aStage(t, interceptor.Funcs{})
	for _, cmd := range []string{"budget", "plan", "status", "top"} {
		if code := s.run(t, cmd, "--help"); code != exitFine {
			t.Errorf("%s --help: exit code %d", cmd, code)
		}
		for line := range strings.Lines(s.out.String()) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > columns {
				t.Errorf("%s --help: does not fit: %s", cmd, line)
			}
		}
	}
}

// playPoolers answers for poolers through the API server, by pod name: each query
// count is what it serves between two looks. All others do not answer.
func (s *stage) playPoolers(t *testing.T, rates map[string]int) {
	t.Helper()
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.URL.Path, "/pods/http:")
		pod, path, _ := strings.Cut(rest, ":")
		rate, there := rates[pod]
		if !there || path != "9128/proxy/metrics" {
			http.Error(w, "no endpoints available", http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		asked[pod]++
		fmt.Fprint(w, figuresOf(rate, rate*asked[pod]))
	}))
	t.Cleanup(server.Close)
	core, err := corev1client.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	s.session.core = core
	s.session.now = func() time.Time { return now }
	s.session.wait = func(ctx context.Context, span time.Duration) error {
		now = now.Add(span)
		return ctx.Err()
	}
}

// figuresOf has 2 clients for each query of a look, of which one in ten waits.
func figuresOf(rate, queries int) string {
	return fmt.Sprintf(`# TYPE pgbouncer_pools_client_active_connections gauge
pgbouncer_pools_client_active_connections{database="pgbouncer",user="pgbouncer"} 1
pgbouncer_pools_client_active_connections{database="shop",user="app"} %d
# TYPE pgbouncer_pools_client_waiting_connections gauge
pgbouncer_pools_client_waiting_connections{database="shop",user="app"} %d
# TYPE pgbouncer_stats_totals_queries_pooled_total counter
pgbouncer_stats_totals_queries_pooled_total{database="shop"} %d
# TYPE pgbouncer_stats_totals_queries_duration_seconds_total counter
pgbouncer_stats_totals_queries_duration_seconds_total{database="shop"} %g
`, rate, rate/10, queries, float64(queries)/800)
}

// aFleet is a server, a pool that serves, one that waits, and one of a long name in
// another namespace.
func aFleet() []client.Object {
	shop, _ := shop(onServer(46, 46), func(p *poolv1.ConnectionPool) {
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{
			Type: poolv1.ConditionConfigApplied, Status: metav1.ConditionFalse, Reason: poolv1.ReasonReloading, Message: "1 of 2 poolers runs the newest configuration",
		})
		p.Status.URLs.Pooled = "postgresql://app@shop-pool.demo.svc:5432/shop"
	})
	waits := aPoolNamed("demo", "orders", onServer(0, 0))
	ready(waits, metav1.ConditionFalse, poolv1.ReasonInsufficientBudget, "The pool's minimum of 60 connections does not fit beside those of the pools that run: lower it or theirs, or raise the server's max_connections")
	waits.Status.ReadyReplicas = new(int32(0))
	other := aPoolNamed("a-namespace-of-many-words", "a-pool-whose-name-is-as-long-as-names-may-be-in-here", onServer(46, 40))
	ready(other, metav1.ConditionTrue, poolv1.ReasonAvailable, "Clients can connect")
	return []client.Object{
		shop, waits, other, aServer(),
		aPoolerOf("demo", "shop", "shop-pool-7d9f8b6c5d-abcde"), aPoolerOf("demo", "shop", "shop-pool-7d9f8b6c5d-fghij"),
		aPoolerOf(other.Namespace, other.Name, other.Name+"-pool-7d9f8b6c5d-klmno"),
	}
}

func aPoolNamed(namespace, name string, changes ...func(*poolv1.ConnectionPool)) *poolv1.ConnectionPool {
	pool := &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1}}
	pool.Spec.Upstream.SecretRef.Name = name + "-db"
	for _, change := range changes {
		change(pool)
	}
	return pool
}

func onServer(share, granted int32) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) {
		p.Spec.Replicas, p.Status.ReadyReplicas = new(int32(2)), new(int32(2))
		p.Status.Upstream = poolv1.ResolvedUpstream{Name: "db.example.com", Endpoint: "db.example.com:5432"}
		p.Status.ServerConnections = poolv1.GrantedConnections{Granted: &granted, Share: &share}
	}
}

func aPoolerOf(namespace, pool, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID("uid-of-" + name), Labels: manifests.Labels(pool),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name, UID: "1", Controller: new(true)}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func aServer() *poolv1.Upstream {
	n := func(v int32) *int32 { return &v }
	entry := func(namespace, pool, pod string, granted, held int32) poolv1.LedgerEntry {
		return poolv1.LedgerEntry{UID: "uid-of-" + pod, Namespace: namespace, Pool: pool, Pod: pod, Gen: new(int64(3)), Granted: n(granted), Held: n(held)}
	}
	const long, words = "a-pool-whose-name-is-as-long-as-names-may-be-in-here", "a-namespace-of-many-words"
	return &poolv1.Upstream{
		ObjectMeta: metav1.ObjectMeta{Name: "db.example.com"},
		Status: poolv1.UpstreamStatus{
			Conditions: []metav1.Condition{
				{Type: poolv1.ConditionReachable, Status: metav1.ConditionTrue, Reason: poolv1.ReasonObserved},
				{Type: poolv1.ConditionHeadroomAvailable, Status: metav1.ConditionFalse, Reason: "HeadroomLow", Message: "1 connection is left for administrators and migrations"},
			},
			Endpoints: []poolv1.ServerEndpoint{{Address: "db.example.com:5432"}},
			Server:    poolv1.ServerIdentity{Version: "18.1"},
			Capacity: poolv1.Capacity{
				Source: poolv1.CapacityObserved, MaxConnections: n(100), SuperuserReserved: n(3), Reserved: n(0), Direct: n(5), Withheld: n(8), Budget: n(92),
			},
			Granted: n(86), Use: poolv1.ServerUse{Connections: n(99), Others: n(7), Deducted: n(2)},
			Pools: []poolv1.PoolAccount{
				{Namespace: words, Name: long, Weight: 100, Floor: 1, Entitled: n(45), Share: n(40), Granted: n(40), Held: n(44)},
				{Namespace: "demo", Name: "orders", Weight: 100, Floor: 1, Minimum: 60, Entitled: n(0), Share: n(0), Granted: n(0), Held: n(0), Waiting: n(2)},
				{Namespace: "demo", Name: "shop", Weight: 100, Floor: 1, Entitled: n(45), Share: n(50), Granted: n(46), Held: n(46)},
			},
			Ledger: []poolv1.LedgerEntry{
				entry(words, long, long+"-pool-7d9f8b6c5d-klmno", 40, 44),
				entry("demo", "shop", "shop-pool-7d9f8b6c5d-abcde", 23, 23), entry("demo", "shop", "shop-pool-7d9f8b6c5d-fghij", 23, 23),
			},
			Account: []string{
				"100 max_connections of the server", "-3 superuser_reserved_connections", "-5 left to others (spec.directConnections, by default)", "= 90 for pools",
				"demo/shop: 45 by weight 100 of 200; borrows 5 that " + words + "/" + long + " leaves idle; granted 46; waits for 4 from " + words + "/" + long,
			},
		},
	}
}

func busyStage(t *testing.T, hooks interceptor.Funcs) *stage {
	t.Helper()
	s := aStage(t, hooks, aFleet()...)
	s.playPoolers(t, map[string]int{"shop-pool-7d9f8b6c5d-abcde": 1200, "shop-pool-7d9f8b6c5d-fghij": 40})
	return s
}

func TestOutputs(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"status":      {[]string{"status"}, exitWrong},
		"status-all":  {[]string{"status", "-A"}, exitWrong},
		"status-pool": {[]string{"status", "shop"}, exitFine},
		"status-json": {[]string{"status", "shop", "-o", "json"}, exitFine},
		"status-yaml": {[]string{"status", "-A", "-o", "yaml"}, exitWrong},
		"top":         {[]string{"top", "-A"}, exitFine},
		"top-first":   {[]string{"top", "-A", "--limit", "1", "--interval", "10s"}, exitFine},
		"budget":      {[]string{"budget"}, exitWrong},
		"budget-one":  {[]string{"budget", "db.example.com"}, exitWrong},
	} {
		t.Run(name, func(t *testing.T) {
			s := busyStage(t, interceptor.Funcs{})
			if code := s.run(t, c.args...); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, s.err.String())
			}
			if len(c.args) > 2 && (c.args[len(c.args)-1] == "json" || c.args[len(c.args)-1] == "yaml") {
				goldenData(t, name, s.out.String())
				return
			}
			golden(t, name, s.out.String()+"---\n"+s.err.String())
		})
	}
}

// goldenData is for programs, which have no columns.
func goldenData(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".data")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestWhoMayNotSeeServersSeesTheRest(t *testing.T) {
	s := busyStage(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*poolv1.UpstreamList); ok {
			return apierrors.NewForbidden(schema.GroupResource{Group: "poolfleet.dev", Resource: "upstreams"}, "", fmt.Errorf("no"))
		}
		return c.List(ctx, list, opts...)
	}})
	s.exits(t, exitFine, "What is held is not shown: you may not list upstreams.poolfleet.dev", "status", "shop")
	if !strings.Contains(s.out.String(), "1364") {
		t.Errorf("the clients are missing:\n%s", s.out.String())
	}
	s.exits(t, exitUnasked, "ask an administrator of the cluster", "budget")
}

func TestWatchEndsWhenInterrupted(t *testing.T) {
	s := busyStage(t, interceptor.Funcs{})
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	s.session.wait = func(context.Context, time.Duration) error {
		if looks++; looks == 4 {
			cancel()
		}
		return ctx.Err()
	}
	env := newEnvironment(Streams{Out: &s.out, ErrOut: &s.err})
	env.connect = func() (*session, error) { return s.session, nil }
	root := newRoot(env)
	root.SetArgs([]string{"status", "shop", "--watch"})
	if code := env.execute(ctx, root); code != exitFine {
		t.Errorf("exit code %d: %s", code, s.err.String())
	}
	if n := strings.Count(s.out.String(), "POOLER"); n != 2 {
		t.Errorf("%d times shown in two rounds:\n%s", n, s.out.String())
	}
}

func TestBadInputOfCommandsThatLook(t *testing.T) {
	s := busyStage(t, interceptor.Funcs{})
	for _, c := range []struct {
		code  int
		words string
		args  []string
	}{
		{exitWrong, "there is no ConnectionPool nosuch in namespace demo", []string{"status", "nosuch"}},
		{exitUsage, "leave out -A, or the pool", []string{"status", "shop", "-A"}},
		{exitUsage, "accepts at most 1 arg(s)", []string{"status", "a", "b"}},
		{exitUsage, "--interval must be above 0", []string{"status", "--interval", "0s"}},
		{exitUsage, "-o xml is not known: use json or yaml", []string{"status", "-o", "xml"}},
		{exitUsage, "--interval must be above 0", []string{"top", "--interval", "-1s"}},
		{exitUsage, "unknown command", []string{"top", "shop"}},
		{exitWrong, "there is no Upstream nosuch", []string{"budget", "nosuch"}},
		{exitUsage, "See `kubectl poolfleet plan --help`", []string{"plan"}},
		{exitUsage, "no such file", []string{"plan", "-f", "testdata/nosuch.yaml"}},
		{exitUsage, "holds no ConnectionPool of poolfleet.dev/v1alpha1", []string{"plan", "-f", "-"}},
		{exitUsage, "unknown command", []string{"nonsense"}},
	} {
		s.exits(t, c.code, c.words, c.args...)
	}
}

func TestPoolsComplete(t *testing.T) {
	s := busyStage(t, interceptor.Funcs{})
	s.run(t, "__complete", "status", "s")
	if got := s.out.String(); !strings.HasPrefix(got, "shop\n:") {
		t.Errorf("status s<tab> completes to %q", got)
	}
	s.run(t, "__complete", "budget", "")
	if got := s.out.String(); !strings.HasPrefix(got, "db.example.com\n:") {
		t.Errorf("budget <tab> completes to %q", got)
	}
}

func TestASampleAloneTellsOfClientsOnly(t *testing.T) {
	at := time.Unix(100, 0)
	last := sample{at: at.Add(2 * time.Second), clients: 5, waiting: 1, queries: 30, seconds: 0.1}
	for name, first := range map[string]*sample{
		"no other sample": nil, "PgBouncer was started in between": {at: at, queries: 31}, "no time went by": {at: last.at},
	} {
		if diff := cmp.Diff(traffic{Clients: new(int64(5)), Waiting: new(int64(1))}, between(first, last)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got := between(&sample{at: at, queries: 10, seconds: 0.06}, last)
	if *got.QueriesPerSecond != 10 || *got.LatencyMilliseconds < 1.99 || *got.LatencyMilliseconds > 2.01 {
		t.Errorf("20 queries in 2 s that took 40 ms: %v a second, %v ms", *got.QueriesPerSecond, *got.LatencyMilliseconds)
	}
}

func TestFiguresThatAreNoneAreAnError(t *testing.T) {
	if _, err := parseSample([]byte("<html>"), time.Time{}); err == nil {
		t.Error("a page in HTML is taken for figures")
	}
	if got, err := parseSample(nil, time.Time{}); err != nil || got.clients != 0 {
		t.Errorf("a PgBouncer that does not run: %+v, %v", got, err)
	}
}
