// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// failover is a fleet whose server has a streaming standby, and a pool there, too.
type failover struct {
	*fleet
	primary, standby *server
	// primaries and standbys are the Services that pools name; an operator of databases
	// has them lead to a server of the kind.
	primaries, standbys *corev1.Service
	read                *poolv1.ConnectionPool
	// reading are the clients of the pool of the standby.
	reading *load.Steady
	dismiss func()
}

// readers is the Name of those clients.
const readers = "reports"

func (w *world) failover(t *testing.T) *failover {
	t.Helper()
	f := &failover{fleet: &fleet{world: w, namespace: w.namespace(t)}, dismiss: func() {}}
	f.primary = w.startServer(t, install.Postgres{
		Namespace: f.namespace, Name: "one", Replicated: true, Restartable: true, Settings: sized(50),
	})
	f.standby = &server{Postgres: install.Postgres{Namespace: f.namespace, Name: "two"}, world: w}
	f.direct = f.primary.role(t, "shop", "")
	f.primaries, f.standbys = f.service(t, "postgres", "one"), f.service(t, "postgres-replicas", "two")
	f.pool = aPool(f.namespace, "shop", lookingOften, withReplicas(3))
	f.read = aPool(f.namespace, "reports", lookingOften, withReplicas(1), func(spec *poolv1.ConnectionPoolSpec) {
		spec.Upstream.TargetSessionAttributes = poolv1.TargetReadOnly
	})
	f.create(t, aSecret(f.namespace, "shop-db", f.through(f.primaries)))
	f.create(t, f.pool)
	// While the pool comes up. The server is larger, and leaves as many to others: poolers
	// are not told to replace connections for that alone.
	f.follow(t, 60)
	f.awaitWell(t)
	return f
}

func sized(connections int) []string {
	return []string{"fsync=off", fmt.Sprintf("max_connections=%d", connections)}
}

// follow makes a new standby of the primary, under the name of the one that is gone.
// It must have room for as many connections as the primary at least. Source: PostgreSQL
// docs, "Hot Standby", Administrator's Overview.
func (f *failover) follow(t *testing.T, connections int) {
	t.Helper()
	f.standby = f.startServer(t, install.Postgres{
		Namespace: f.namespace, Name: f.standby.Name, Follows: f.primary.Host(), Restartable: true,
		Settings: sized(connections), Password: f.primary.Password,
	})
	eventually(t, "the standby streams", func() error {
		state, err := f.query(t.Context(), f.primary.AdminURL(), "select state from pg_stat_replication")
		if err == nil && state != "streaming" {
			err = fmt.Errorf("it is %q", state)
		}
		return err
	})
}

// service is one that leads to a server.
func (f *failover) service(t *testing.T, name, server string) *corev1.Service {
	t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": server}, Ports: []corev1.ServicePort{{Port: 5432, TargetPort: intstr.FromString("postgres")}},
		},
	}
	f.create(t, service)
	return service
}

// lead has a Service lead to another server.
func (f *failover) lead(t *testing.T, service *corev1.Service, to *server) {
	t.Helper()
	f.change(t, service, func() { service.Spec.Selector["app"] = to.Name })
}

// through is the URL of the role shop by a Service.
func (f *failover) through(service *corev1.Service) string {
	return strings.Replace(f.direct, "@"+f.primary.Host(), "@"+service.Name+"."+service.Namespace+".svc", 1)
}

// awaitServer waits until a pool's Upstream is a server, and has its budget.
func (f *failover) awaitServer(t *testing.T, pool *poolv1.ConnectionPool, s *server) {
	t.Helper()
	connections, err := f.query(t.Context(), s.AdminURL(), "show max_connections")
	if err != nil {
		t.Fatal(err)
	}
	pod := f.podOf(t, s)
	eventually(t, fmt.Sprintf("pool %s has the budget of server %s", pool.Name, s.Name), func() error {
		f.get(t, pool)
		upstream := f.upstreamOf(t, pool)
		status := upstream.Status
		if seen := fmt.Sprint(deref(status.Capacity.MaxConnections)); seen != connections || !strings.HasPrefix(status.Server.Address, pod.Status.PodIP+":") {
			return fmt.Errorf("it is %s with %s connections, want %s with %s%s", status.Server.Address, seen, pod.Status.PodIP, connections, spoken(pool.Status.Conditions))
		}
		return withinBudget(upstream)
	})
}

// awaitSettled waits until pools that are on one Upstream are alone there, have as many
// pods as they should, and those have its whole budget.
func (f *failover) awaitSettled(t *testing.T, pools ...*poolv1.ConnectionPool) {
	t.Helper()
	from := time.Now()
	eventually(t, "the pods that there are have the whole budget", func() error {
		var pods []string
		for _, pool := range pools {
			f.get(t, pool)
			for _, pod := range f.poolers(t, pool) {
				pods = append(pods, string(pod.UID))
			}
		}
		upstream := f.upstreamOf(t, pools[0])
		var granted int32
		var entries []string
		for _, e := range upstream.Status.Ledger {
			granted, entries = granted+*e.Granted, append(entries, e.UID)
		}
		slices.Sort(pods)
		slices.Sort(entries)
		if budget := *upstream.Status.Capacity.Budget - deref(upstream.Status.Use.Deducted); !slices.Equal(pods, entries) || granted != budget {
			return fmt.Errorf("there are %d pods; the ledger of %s has %d, and %d granted of %d", len(pods), upstream.Name, len(entries), granted, budget)
		}
		return withinBudget(upstream)
	})
	t.Logf("the budget of pool %s is divided after %.1f s more", pools[0].Name, time.Since(from).Seconds())
}

// podOf is the pod that a server runs in.
func (f *failover) podOf(t *testing.T, s *server) corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := f.client.List(t.Context(), &pods, client.InNamespace(f.namespace), client.MatchingLabels{"app": s.Name}); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(left) != 1 {
		t.Fatalf("server %s has %d pods", s.Name, len(left))
	}
	return left[0]
}

// awaitEvent waits until a Warning about the pool has the reason.
func (f *failover) awaitEvent(t *testing.T, pool *poolv1.ConnectionPool, reason string) {
	t.Helper()
	eventually(t, fmt.Sprintf("there is an event %s about pool %s", reason, pool.Name), func() error {
		var events eventsv1.EventList
		if err := f.client.List(t.Context(), &events, client.InNamespace(f.namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.UID == pool.UID && e.Reason == reason && e.Type == corev1.EventTypeWarning {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

// admit lets the clients of the pool of the standby in until they are dismissed.
func (f *failover) admit(t *testing.T) {
	t.Helper()
	f.reading = &load.Steady{
		Name: readers, URL: string(f.published(t, f.read).Data["DATABASE_URL"]), Dial: f.dialer.DialContext, Mode: pgx.QueryExecModeCacheStatement,
		Count: 20, Work: 50 * time.Millisecond, Rest: time.Second, Lifetime: time.Hour, Failed: f.fails,
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.reading.Run(ctx) })
	f.dismiss = sync.OnceFunc(func() { cancel(); running.Wait() })
}

// awaitReaders waits until each of them may have had an answer.
func (f *failover) awaitReaders(t *testing.T) {
	t.Helper()
	from := f.reading.Served.Load()
	eventually(t, "clients of the pool of the standby have answers", func() error {
		if served := f.reading.Served.Load() - from; served < 40 {
			return fmt.Errorf("they had %d", served)
		}
		return nil
	})
}

// within samples a server until the function it returns is called, which checks that
// the pools' backends that were past their login never exceeded its budget.
func (f *failover) within(t *testing.T, s *server) (check func(*testing.T)) {
	t.Helper()
	direct := int(*f.upstreamOf(t, f.read).Status.Capacity.Direct)
	var samples, largest, allowed, beyond, lost int
	sampler := &load.Sampler{
		URL: s.AdminURL(), Dial: f.dialer.DialContext, Roles: []string{"shop"}, Besides: postgres.ApplicationName,
		Each: func(seen load.Sample) {
			samples, largest, allowed = samples+1, max(largest, seen.Admitted), seen.Room-direct
			if seen.Admitted > allowed {
				beyond++
			}
		},
		Lost: func(time.Time, error) { lost++ },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sampler.Run(ctx) })
	return func(t *testing.T) {
		t.Helper()
		cancel()
		running.Wait()
		t.Logf("at most %d backends of both pools at server %s, which allows %d, in %d samples; %d looks were lost", largest, s.Name, allowed, samples, lost)
		if beyond > 0 || samples == 0 {
			t.Errorf("pools had more backends than the %d allowed in %d of %d samples", allowed, beyond, samples)
		}
	}
}
