// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// disturbances are what each kind does. None waits longer than it takes to know
// when clients may fail no more.
func (o *oracle) disturbances() map[disturbance]func(*testing.T, step) {
	return map[disturbance]func(*testing.T, step){
		scalePool: o.scale, rollPool: o.roll, deletePod: o.deletePod, forceDeletePod: o.forceDeletePod,
		killPgBouncer:   func(t *testing.T, s step) { t.Helper(); o.killPooler(t, s, "pgbouncer") },
		killPooler:      func(t *testing.T, s step) { t.Helper(); o.killPooler(t, s, "pooler") },
		killManager:     o.killManager,
		addManager:      o.addManager,
		removeManager:   o.removeManager,
		reweighPool:     o.reweigh,
		capPool:         o.cap,
		keepPool:        o.keep,
		shrinkServer:    func(t *testing.T, _ step) { t.Helper(); o.resize(t, smallServer) },
		growServer:      func(t *testing.T, _ step) { t.Helper(); o.resize(t, largeServer) },
		changeDirect:    o.changeDirect,
		changeCeiling:   o.changeCeiling,
		stormOfClients:  o.storm,
		longTransaction: o.holdTransactions,
	}
}

// pick is one of the choices, and not the one that there is.
func pick[T comparable](dice uint32, now T, choices ...T) T {
	choices = slices.DeleteFunc(choices, func(c T) bool { return c == now })
	return choices[int(dice%uint32(len(choices)))]
}

func (o *oracle) edit(t *testing.T, s step, edit func(*poolv1.ConnectionPoolSpec)) *poolv1.ConnectionPool {
	t.Helper()
	pool := o.pools[s.pool]
	o.change(t, pool, func() { edit(&pool.Spec) })
	return pool
}

func (o *oracle) scale(t *testing.T, s step) {
	t.Helper()
	pool := o.edit(t, s, func(spec *poolv1.ConnectionPoolSpec) {
		spec.Replicas = new(pick[int32](s.dice[0], *spec.Replicas, 1, 2, 3))
	})
	o.timeline.note("pool %s has %d replicas", pool.Name, *pool.Spec.Replicas)
}

func (o *oracle) roll(t *testing.T, s step) {
	t.Helper()
	pool := o.edit(t, s, func(spec *poolv1.ConnectionPoolSpec) {
		spec.Pod.Annotations = map[string]string{"example.com/shape": fmt.Sprint(s.dice[0])}
	})
	o.timeline.note("pool %s rolls out", pool.Name)
}

func (o *oracle) reweigh(t *testing.T, s step) {
	t.Helper()
	pool := o.edit(t, s, func(spec *poolv1.ConnectionPoolSpec) {
		spec.ServerConnections.Weight = pick[int32](s.dice[0], spec.ServerConnections.Weight, 100, 200, 300, 400)
	})
	o.timeline.note("pool %s has a weight of %d", pool.Name, pool.Spec.ServerConnections.Weight)
}

// cap never bounds the first pool, so that the budget is granted in full.
func (o *oracle) cap(t *testing.T, s step) {
	t.Helper()
	s.pool = max(s.pool, 1)
	pool := o.edit(t, s, func(spec *poolv1.ConnectionPoolSpec) {
		spec.ServerConnections.Maximum = pick[int32](s.dice[0], spec.ServerConnections.Maximum, 0, 8, 12)
	})
	o.timeline.note("pool %s takes at most %d", pool.Name, pool.Spec.ServerConnections.Maximum)
}

// keep stays below the smallest maximum, and the sum of all minimums below the
// smallest budget.
func (o *oracle) keep(t *testing.T, s step) {
	t.Helper()
	pool := o.edit(t, s, func(spec *poolv1.ConnectionPoolSpec) {
		spec.ServerConnections.Minimum = pick[int32](s.dice[0], spec.ServerConnections.Minimum, 0, 4, 6)
	})
	o.timeline.note("pool %s is kept %d", pool.Name, pool.Spec.ServerConnections.Minimum)
}

// spared is a ready pod of a pool that has another one, too: of the step's pool, or
// of the first after it that has two.
func (o *oracle) spared(t *testing.T, s step) corev1.Pod {
	t.Helper()
	var found corev1.Pod
	eventually(t, "a pool can spare a pooler", func() error {
		for i := range o.pools {
			pool := o.pools[(s.pool+i)%len(o.pools)]
			o.get(t, pool)
			pods := slices.DeleteFunc(o.poolers(t, pool), func(p corev1.Pod) bool { return !isReady(p) })
			if *pool.Spec.Replicas > 1 && len(pods) > 1 {
				slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
				found = pods[int(s.dice[0])%len(pods)]
				return nil
			}
		}
		pool := o.pools[s.pool]
		o.change(t, pool, func() { pool.Spec.Replicas = new(max(*pool.Spec.Replicas, 2)) })
		return fmt.Errorf("none has two that are ready")
	})
	return found
}

func isReady(pod corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (o *oracle) deletePod(t *testing.T, s step) {
	t.Helper()
	pod := o.spared(t, s)
	o.timeline.note("pod %s is deleted", pod.Name)
	o.delete(t, &pod)
}

func (o *oracle) forceDeletePod(t *testing.T, s step) {
	t.Helper()
	pod := o.spared(t, s)
	end := o.excuses.open("pod "+pod.Name+" is deleted without grace", o.names[o.indexOf(pod)], true)
	defer end()
	o.timeline.note("pod %s is deleted without grace", pod.Name)
	if err := o.client.Delete(t.Context(), &pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod's containers have ended", func() error {
		if left := len(processes(t, pod, "pgbouncer")) + len(processes(t, pod, "pooler")); left > 0 {
			return fmt.Errorf("%d processes are left", left)
		}
		return nil
	})
	o.awaitServing(t, pod)
}

func (o *oracle) killPooler(t *testing.T, s step, program string) {
	t.Helper()
	pod := o.spared(t, s)
	end := o.excuses.open(program+" of pod "+pod.Name+" is killed", o.names[o.indexOf(pod)], true)
	defer end()
	o.timeline.note("%s of pod %s is killed", program, pod.Name)
	kill(t, pod, program)
	o.awaitServing(t, pod)
}

// managers are the pods of the Deployment, not the one that was started by hand.
func (o *oracle) managers(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	labels := client.MatchingLabels{"app.kubernetes.io/component": "manager"}
	if err := o.client.List(t.Context(), &pods, client.InNamespace(install.Namespace), labels); err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

func (o *oracle) killManager(t *testing.T, _ step) {
	t.Helper()
	pods := slices.DeleteFunc(o.managers(t), func(p corev1.Pod) bool { return !isReady(p) })
	if len(pods) == 0 {
		o.timeline.note("no manager is ready that could be killed")
		return
	}
	kill(t, pods[0], "manager")
}

const secondManager = "second-manager"

// addManager starts one like the first, but for leader election.
func (o *oracle) addManager(t *testing.T, _ step) {
	t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.Manager}}
	o.get(t, deployment)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: secondManager},
		Spec:       *deployment.Spec.Template.Spec.DeepCopy(),
	}
	args := pod.Spec.Containers[0].Args
	i := slices.Index(args, "--leader-elect")
	if i < 0 {
		t.Fatalf("the manager's arguments are %q, want --leader-elect among them", args)
	}
	args[i] = "--leader-elect=false"
	o.create(t, pod)
	t.Cleanup(func() { _ = o.client.Delete(context.Background(), pod) })
}

func (o *oracle) removeManager(t *testing.T, _ step) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: secondManager}}
	o.get(t, pod)
	if !isReady(*pod) {
		t.Errorf("the second manager never was ready: %s", pod.Status.Phase)
	}
	o.delete(t, pod)
}

// resize restarts the server with another max_connections.
func (o *oracle) resize(t *testing.T, size int) {
	t.Helper()
	const started = "select pg_postmaster_start_time()"
	o.timeline.note("max_connections becomes %d", size)
	o.server.run(t, fmt.Sprintf("alter system set max_connections = %d", size))
	before, err := o.query(t.Context(), o.server.AdminURL(), started)
	if err != nil {
		t.Fatal(err)
	}
	end := o.excuses.open("the server restarts", "", false)
	defer end()
	if err := o.server.Restart(t.Context(), o.tools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server has started again", func() error {
		after, err := o.query(t.Context(), o.server.AdminURL(), started)
		if err == nil && after == before {
			err = fmt.Errorf("it has not ended yet")
		}
		return err
	})
	for _, pool := range o.pools {
		for _, pod := range o.poolers(t, pool) {
			if isReady(pod) {
				o.awaitServing(t, pod)
			}
		}
	}
	o.timeline.note("the server is back for all poolers")
}

func (o *oracle) changeDirect(t *testing.T, s step) {
	t.Helper()
	next := o.bound.last()
	next.direct = pick(s.dice[0], next.direct, leftToOthers, leftToOthers+2, leftToOthers+4)
	o.rebound(t, next)
}

func (o *oracle) changeCeiling(t *testing.T, s step) {
	t.Helper()
	next := o.bound.last()
	next.ceiling = pick(s.dice[0], next.ceiling, 0, 22, 28)
	o.rebound(t, next)
}

// rebound changes the administrator's word and waits until the pods keep to it.
func (o *oracle) rebound(t *testing.T, next words) {
	t.Helper()
	o.timeline.note("the administrator leaves %d to others, pools take at most %d", next.direct, next.ceiling)
	o.bound.put(next)
	upstream := o.upstreamOf(t, o.pools[0])
	o.change(t, upstream, func() {
		upstream.Spec.DirectConnections = new(intstr.FromInt(next.direct))
		upstream.Spec.MaxServerConnections = int32(next.ceiling)
	})
	o.conforms(t)
	o.bound.settle()
	o.timeline.note("pools keep to it")
}

func (o *oracle) storm(t *testing.T, _ step) {
	t.Helper()
	var entered int64
	for _, h := range o.hostile {
		entered += h.Storm(t.Context(), 60)
	}
	o.timeline.note("%d of 120 got in", entered)
}

// holdTransactions has a few well-behaved clients of the first pool take long.
func (o *oracle) holdTransactions(t *testing.T, _ step) {
	t.Helper()
	c := &load.Steady{
		Name: o.pools[0].Name, URL: o.urls[0][0], Dial: o.dialer.DialContext, Mode: pgx.QueryExecModeCacheStatement,
		Count: 4, Lifetime: 8 * time.Second, Work: 8 * time.Second, Rest: 100 * time.Millisecond,
		Failed: func(f load.Failure) { o.fails(t, f) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	o.beside.Go(func() { defer cancel(); c.Run(ctx) })
}
