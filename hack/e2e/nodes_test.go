// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nodes

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

var nodesLong = flag.Bool("nodes.long", false, "in TestNodes, leave a node away until Kubernetes evicts its pods, and then for good")

// TestNodes drains and loses a node with poolers on it, each time under new clients
// like those of TestFleet. The server, and the operator, are on another node, which stays. Pools
// never have more connections than the budget.
func TestNodes(t *testing.T) {
	w := connect(t)
	nodes := w.addNode(t)
	w.install(t)
	f := w.fleet(t, tolerating)
	within := f.withinBudget(t)
	defer within()
	faults := []fault{
		{"a node is cut off for a minute", true, func(t *testing.T) { t.Helper(); f.losesNode(t, nodes, time.Minute) }},
		{"a node is drained", false, func(t *testing.T) { t.Helper(); f.drains(t, nodes) }},
	}
	if *nodesLong {
		faults = append(faults, fault{"a node is lost for good", true, func(t *testing.T) { t.Helper(); f.losesNodeForGood(t, nodes) }})
	}
	rows := faultHead()
	for _, fault := range faults {
		f.movesTo(t, nodes.name)
		t.Run(fault.name, func(t *testing.T) {
			stop := f.serveOn(t, nodes.name)
			defer stop()
			rows = append(rows, f.suffers(t, fault))
		})
	}
	within()
	t.Log("\n" + strings.Join(rows, "\n"))
	f.remove(t, f.pool)
	if err := f.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// withinBudget looks at the server all the while, until the function it returns is
// called: what the lost node's poolers hold counts, too.
func (f *fleet) withinBudget(t *testing.T) (stop func()) {
	t.Helper()
	budget := int(*f.upstreamOf(t, f.pool).Status.Capacity.Budget)
	samples, largest := 0, 0
	sampler := &load.Sampler{
		URL: f.server.AdminURL(), Dial: f.dialer.DialContext, Roles: []string{"shop"}, Besides: postgres.ApplicationName,
		Each: func(s load.Sample) {
			samples, largest = samples+1, max(largest, s.Admitted)
			if s.Admitted > budget {
				t.Errorf("at %s the pool had %d connections of a budget of %d", s.At.UTC().Format("15:04:05.000"), s.Admitted, budget)
			}
		},
		Lost: func(_ time.Time, err error) { t.Errorf("looking at the server: %v", err) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sampler.Run(ctx) })
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		t.Logf("in %d looks the pool had at most %d connections of a budget of %d", samples, largest, budget)
	})
}

// on are the poolers of a node, and how many others are ready.
func (f *fleet) on(t *testing.T, node string) (there []corev1.Pod, elsewhere int) {
	t.Helper()
	for _, pod := range f.poolers(t, f.pool) {
		switch {
		case pod.Spec.NodeName == node:
			there = append(there, pod)
		case isReady(pod):
			elsewhere++
		}
	}
	return there, elsewhere
}

// serveOn lets clients in, of whom some come to a node's poolers, and others do not.
func (f *fleet) serveOn(t *testing.T, node string) (stop func()) {
	t.Helper()
	eventually(t, "clients come to the node's poolers", func() error {
		stop = f.serve(t)
		f.awaitQueries(t)
		there, elsewhere := f.on(t, node)
		clients := 0
		for _, pod := range there {
			clients += clientsOf(t, pod)
		}
		if clients > 0 && elsewhere > 0 {
			t.Logf("%d clients are on the node's %d poolers, %d poolers are elsewhere", clients, len(there), elsewhere)
			return nil
		}
		stop() // The Service did not lead there yet.
		return fmt.Errorf("%d have, and %d poolers are elsewhere", clients, elsewhere)
	})
	return stop
}

// clientsOf counts the established connections to a pooler's port. Source: proc(5),
// /proc/[pid]/net/tcp.
func clientsOf(t *testing.T, pod corev1.Pod) int {
	t.Helper()
	count := 0
	for _, pid := range processes(t, pod, "pgbouncer") {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", 5432)) && fields[3] == "01" {
				count++
			}
		}
	}
	return count
}

// drains does what an administrator does before work on a node.
func (f *fleet) drains(t *testing.T, n *secondNode) {
	t.Helper()
	// A pooler's local data is files in memory, which the next pod makes anew.
	f.kubectl(t, "drain", n.name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout="+patience.String())
	f.awaitWell(t)
	if left, _ := f.on(t, n.name); len(left) > 0 {
		t.Errorf("%d poolers are left on the drained node", len(left))
	}
	f.kubectl(t, "uncordon", n.name)
}

// losesNode cuts a node off for a time, in which Kubernetes finds out, and nobody is
// sent there any more.
func (f *fleet) losesNode(t *testing.T, n *secondNode, away time.Duration) {
	t.Helper()
	lost, _ := f.on(t, n.name)
	from := time.Now()
	n.cut(t)
	f.awaitUnready(t, lost)
	t.Logf("nobody is sent to the lost poolers after %.0f s", time.Since(from).Seconds())
	// By then those that wait for the lost poolers have given up, and connect elsewhere.
	time.Sleep(time.Until(from.Add(away + time.Second)))
	f.awaitQueries(t)
	n.mend(t)
}

// losesNodeForGood has a node away for so long that Kubernetes replaces its poolers,
// and an administrator then say that it will not come back.
func (f *fleet) losesNodeForGood(t *testing.T, n *secondNode) {
	t.Helper()
	lost, _ := f.on(t, n.name)
	from := time.Now()
	n.cut(t)
	f.awaitUnready(t, lost)
	time.Sleep(time.Until(from.Add(5 * time.Minute))) // Pods tolerate a node that does not answer for that long.
	eventually(t, "the lost poolers are replaced", func() error {
		if _, ready := f.on(t, n.name); ready != 3 {
			return fmt.Errorf("%d are ready elsewhere", ready)
		}
		return nil
	})
	t.Logf("the lost poolers are replaced after %.0f s; of the budget%s", time.Since(from).Seconds(), f.shares(t))
	f.kubectl(t, "taint", "node", n.name, outOfService)
	f.awaitShared(t)
	t.Logf("their share is given to others after %.0f s; of the budget%s", time.Since(from).Seconds(), f.shares(t))
	n.mend(t)
	f.kubectl(t, "taint", "node", n.name, outOfService+"-")
	eventually(t, "the node that is back ends what it should not run", func() error {
		for _, pod := range lost {
			if left := processes(t, pod, "pgbouncer"); len(left) > 0 {
				return fmt.Errorf("pod %s has processes %v", pod.Name, left)
			}
		}
		return nil
	})
}

// outOfService says that a node is off, so that its pods may be forgotten. Source:
// Kubernetes docs, "Node Shutdowns", non-graceful node shutdown.
const outOfService = corev1.TaintNodeOutOfService + "=nodeshutdown:NoExecute"

// movesTo has a pooler on a node by replacing one: its Deployment spreads them.
func (f *fleet) movesTo(t *testing.T, node string) {
	t.Helper()
	eventually(t, "a pooler is on node "+node, func() error {
		pods, _ := f.on(t, node)
		if slices.ContainsFunc(pods, isReady) {
			return nil
		}
		if pods := f.readyPods(t); len(pods) == 3 && len(f.running(t)) == 3 {
			f.delete(t, &pods[0])
		}
		return errors.New("none is")
	})
	f.awaitWell(t)
}

// awaitUnready waits until pods are not ready, so that their Service leaves them out.
func (f *fleet) awaitUnready(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	eventually(t, "the lost poolers are not ready", func() error {
		for _, pod := range pods {
			if f.get(t, &pod); isReady(pod) {
				return fmt.Errorf("pod %s is", pod.Name)
			}
		}
		return nil
	})
}

// awaitShared waits until poolers that are there have all of the budget.
func (f *fleet) awaitShared(t *testing.T) {
	t.Helper()
	eventually(t, "the poolers that are left have the budget", func() error {
		upstream, granted := f.upstreamOf(t, f.pool), int32(0)
		for _, entry := range upstream.Status.Ledger {
			granted += *entry.Granted
		}
		whole := *upstream.Status.Capacity.Budget - deref(upstream.Status.Use.Deducted)
		if entries := len(upstream.Status.Ledger); entries != 3 || granted != whole {
			return fmt.Errorf("%d have %d of %d", entries, granted, whole)
		}
		return withinBudget(upstream)
	})
}

// shares are what the ledger says.
func (f *fleet) shares(t *testing.T) string {
	t.Helper()
	upstream := f.upstreamOf(t, f.pool)
	text := fmt.Sprintf(" of %d", *upstream.Status.Capacity.Budget)
	for _, entry := range upstream.Status.Ledger {
		text += fmt.Sprintf(", pod %s is granted %d and holds %d", entry.Pod, deref(entry.Granted), deref(entry.Held))
	}
	return text
}

// poolersOnly keeps off the second node whoever does not tolerate it.
var poolersOnly = corev1.Taint{Key: "example.com/poolers-only", Effect: corev1.TaintEffectNoSchedule}

func tolerating(spec *poolv1.ConnectionPoolSpec) {
	spec.Pod.Tolerations = []corev1.Toleration{{Key: poolersOnly.Key, Operator: corev1.TolerationOpExists}}
}

// awaitNode waits until a node is Ready, or gone.
func (w *world) awaitNode(ctx context.Context, name string, there bool) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		err = w.client.Get(ctx, client.ObjectKeyFromObject(node), node)
		switch {
		case !there && apierrors.IsNotFound(err):
			return nil
		case there && err == nil && slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}):
			return nil
		}
	}
	return fmt.Errorf("waiting for node %s to be ready (%t) or gone: %w", name, there, err)
}
