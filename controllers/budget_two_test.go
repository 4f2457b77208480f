// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/budget"
)

// secondManager runs the operator a second time, without an election, until the test ends.
func secondManager(t *testing.T) *controllers.Signals {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	theirs := controllers.NewSignals()
	mgr, err := newManager(ctx, cluster, theirs)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		t.Fatal("the second manager's cache does not come up")
	}
	return theirs
}

// heldWithin fails the test on any version of an Upstream in which pods may hold
// more than the budget.
func heldWithin(t *testing.T, upstream string, most int32) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	watcher, err := api.Watch(ctx, &poolv1.UpstreamList{}, client.MatchingFields{"metadata.name": upstream})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	go func() {
		versions := 0
		for event := range watcher.ResultChan() {
			u, ok := event.Object.(*poolv1.Upstream)
			if !ok {
				continue
			}
			versions++
			var held int32
			for _, e := range u.Status.Ledger {
				held += *e.Held
			}
			if held > most {
				t.Errorf("version %s: pods may hold %d of %d", u.ResourceVersion, held, most)
			}
		}
		done <- versions
	}()
	t.Cleanup(func() {
		cancel()
		if n := <-done; n == 0 {
			t.Error("no version of the ledger was seen")
		}
	})
}

func TestTwoManagersHoldTheBudgetAndComeToRest(t *testing.T) {
	host := server(t, 100)
	shows(host, 3, 0)
	var pools []*poolv1.ConnectionPool
	var running []*corev1.Pod
	for i := range 3 {
		pool := serve(t, namespace(t), fmt.Sprintf("both-%d", i), host)
		pools = append(pools, pool)
		for j := range 2 {
			running = append(running, podOf(t, pool, fmt.Sprintf("both-%d-%d", i, j)))
		}
	}
	u := upstreamFor(t, pools[0], func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.Status.Ledger).To(gomega.HaveLen(6)) })
	heldWithin(t, u.Name, 92)
	theirs := secondManager(t)
	wake := func() {
		signals.Upstream(t.Context(), u.Name)
		theirs.Upstream(t.Context(), u.Name)
	}
	for range 5 { // Until both know what the pods have use for, and so move connections.
		hands.ahead.Add(int64(budget.DemandMemory / 4))
		wake()
		time.Sleep(300 * time.Millisecond)
	}
	for round := range 8 {
		pool := pools[round%3]
		change(t, pool, func() { pool.Spec.ServerConnections.Weight = int32(100 + 150*(round%4)) })
		wake()
		if round == 4 {
			if err := api.Delete(t.Context(), running[0], client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			podOf(t, pools[0], "both-0-new")
		}
		time.Sleep(150 * time.Millisecond)
	}
	about := func() []string {
		return slices.DeleteFunc(writes.all(), func(line string) bool {
			return !strings.Contains(line, u.Name) && !slices.ContainsFunc(pools, func(p *poolv1.ConnectionPool) bool {
				return strings.Contains(line, " "+p.Namespace+"/")
			})
		})
	}
	var settled []string
	eventually(t, func(g gomega.Gomega) {
		settled = about()
		time.Sleep(3 * time.Second)
		g.Expect(cmp.Diff(settled, about())).To(gomega.BeEmpty())
	})
	for range 10 {
		wake()
		for _, pool := range pools {
			signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
			theirs.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		}
		time.Sleep(200 * time.Millisecond)
	}
	if diff := cmp.Diff(settled, about()); diff != "" {
		t.Errorf("two managers write against each other:\n%s", diff)
	}
	var granted int32
	for _, e := range upstreamFor(t, pools[0], func(gomega.Gomega, *poolv1.Upstream) {}).Status.Ledger {
		granted += *e.Granted
	}
	if granted != 92 {
		t.Errorf("%d of 92 are granted in the end", granted)
	}
}
