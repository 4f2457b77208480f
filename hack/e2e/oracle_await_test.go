// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// kill ends a program of a pod at once, as the node does when memory runs out, and
// returns when it has ended.
func kill(t *testing.T, pod corev1.Pod, program string) {
	t.Helper()
	pids := processes(t, pod, program)
	if len(pids) == 0 {
		t.Fatalf("pod %s runs no %s on this machine", pod.Name, program)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Logf("%s of pod %s had just ended: %v", program, pod.Name, err)
		}
	}
	eventually(t, "the program has ended", func() error {
		for _, pid := range processes(t, pod, program) {
			if slices.Contains(pids, pid) {
				return fmt.Errorf("process %d is there", pid)
			}
		}
		return nil
	})
}

// processes are those of a program in a pod, which the local cluster runs on this
// machine. A pod's cgroup has its UID in its name.
func processes(t *testing.T, pod corev1.Pod, program string) []int {
	t.Helper()
	return processesOf(t, func(dir string) bool {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(comm)) != program {
			return false // Another, or it has ended.
		}
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		return err == nil && strings.Contains(string(cgroup), string(pod.UID))
	})
}

// awaitServing waits until a pooler serves its clients, or gets no new ones any
// more, and everyone has heard of it.
func (o *oracle) awaitServing(t *testing.T, pod corev1.Pod) {
	t.Helper()
	eventually(t, fmt.Sprintf("pod %s serves again, or nobody is sent there", pod.Name), func() error {
		if !o.receives(t, pod) {
			time.Sleep(time.Second) // For the node to learn of it, too.
			return nil
		}
		return o.answers(t.Context(), pod)
	})
}

// receives reports whether new clients are sent to a pod.
func (o *oracle) receives(t *testing.T, pod corev1.Pod) bool {
	t.Helper()
	var slicesOf discoveryv1.EndpointSliceList
	labels := client.MatchingLabels{discoveryv1.LabelServiceName: pod.Labels["poolfleet.dev/pool"] + "-pool"}
	if err := o.client.List(t.Context(), &slicesOf, client.InNamespace(o.namespace), labels); err != nil {
		t.Fatal(err)
	}
	for _, slice := range slicesOf.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil && e.TargetRef.UID == pod.UID && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				return true
			}
		}
	}
	return false
}

// answers has one pooler run a query in each of its databases.
func (o *oracle) answers(ctx context.Context, pod corev1.Pod) error {
	for _, text := range o.urls[o.indexOf(pod)] {
		one, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("the URL is malformed")
		}
		one.Host = net.JoinHostPort(pod.Status.PodIP, "5432")
		if _, err := o.query(ctx, one.String(), "select 1"); err != nil {
			return err
		}
	}
	return nil
}

// conforms waits until the pods keep to the administrator's newest word.
func (o *oracle) conforms(t *testing.T) {
	t.Helper()
	eventually(t, "the pools keep to the Upstream's spec", func() error {
		upstream, want := o.upstreamOf(t, o.pools[0]), o.bound.last()
		status := upstream.Status
		room := int(*status.Capacity.MaxConnections - *status.Capacity.SuperuserReserved - *status.Capacity.Reserved)
		if status.ObservedGeneration == nil || *status.ObservedGeneration != upstream.Generation ||
			int(*status.Capacity.Direct) != want.direct || int(*status.Capacity.Budget) != want.of(room) {
			return fmt.Errorf("%d are left to others and the budget is %d of %d", *status.Capacity.Direct, *status.Capacity.Budget, room)
		}
		for _, pool := range o.pools {
			if err := o.admitsBy(t, pool, deref(status.Capacity.Withheld), want.ceiling); err != nil {
				return err
			}
		}
		if last := o.seen.last.Load(); last != nil && last.Admitted > want.of(last.Room) {
			return fmt.Errorf("pools have %d backends", last.Admitted) // Admitted by the word before.
		}
		return withinBudget(upstream)
	})
}

// admitsBy says whether all poolers of a pool check new server connections by these
// numbers. Until they do, a connection whose client vanished may be there beside the
// one that took its place, beyond what the grants come to.
func (o *oracle) admitsBy(t *testing.T, pool *poolv1.ConnectionPool, withheld int32, ceiling int) error {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: manifests.ConfigSecretName(pool.Name)}}
	o.get(t, secret)
	o.get(t, pool)
	data := secret.Data[contract.ConfigKey]
	document, err := contract.DecodeDocument(data)
	if err != nil {
		return err
	}
	query := document.PgBouncer.ConnectQuery
	if !strings.Contains(query, fmt.Sprintf("+%d-int4(", withheld)) || ceiling > 0 && !strings.Contains(query, fmt.Sprintf("-%d)", ceiling)) {
		return fmt.Errorf("pool %s is configured for other numbers", pool.Name)
	}
	applied := meta.IsStatusConditionTrue(pool.Status.Conditions, poolv1.ConditionConfigApplied)
	if !applied || pool.Status.ConfigRevision != contract.Revision(data) {
		return fmt.Errorf("poolers of pool %s have yet to run configuration %s", pool.Name, contract.Revision(data))
	}
	return nil
}

// calmsDown waits until every pool serves as its spec says.
func (o *oracle) calmsDown(t *testing.T) {
	t.Helper()
	for _, pool := range o.pools {
		o.awaitReady(t, pool)
		o.awaitCondition(t, pool, poolv1.ConditionConfigApplied, "True", poolv1.ReasonApplied)
	}
	o.timeline.note("all pools are Ready")
}

// sumsFit checks the ledger against the pods and the budget, once it has settled.
func (o *oracle) sumsFit(t *testing.T) {
	t.Helper()
	eventually(t, "the budget is granted, and to the pods that there are", func() error {
		upstream := o.upstreamOf(t, o.pools[0])
		pods := map[string]bool{}
		for _, pool := range o.pools {
			for _, pod := range o.poolers(t, pool) {
				pods[string(pod.UID)] = true
			}
		}
		var granted, held int32
		for _, entry := range upstream.Status.Ledger {
			if !pods[entry.UID] {
				return fmt.Errorf("the ledger has an entry for pod %s, which is gone", entry.Pod)
			}
			granted, held = granted+*entry.Granted, held+*entry.Held
		}
		budget := *upstream.Status.Capacity.Budget - deref(upstream.Status.Use.Deducted) // The sampler is there, too.
		if len(pods) != len(upstream.Status.Ledger) || granted != budget || held != budget {
			return fmt.Errorf("%d pods have %d entries, %d granted and %d held of a budget of %d",
				len(pods), len(upstream.Status.Ledger), granted, held, budget)
		}
		for _, p := range upstream.Status.Pools {
			if *p.Granted < p.Minimum {
				return fmt.Errorf("pool %s has %d, and is to be kept %d", p.Name, *p.Granted, p.Minimum)
			}
		}
		if !meta.IsStatusConditionTrue(upstream.Status.Conditions, poolv1.ConditionWithinBudget) {
			return fmt.Errorf("it says%s", spoken(upstream.Status.Conditions))
		}
		return nil
	})
}

// quiet waits for 20 s without a write. The server's use is news now and then until
// the poolers have closed what they no longer need, after a minute.
func (o *oracle) quiet(t *testing.T) {
	t.Helper()
	const silence = 20 * time.Second
	var writes []request
	for range 12 {
		from := time.Now()
		time.Sleep(silence)
		if writes = o.audit.writesSince(t, from); len(writes) == 0 {
			return
		}
		t.Logf("within %s:%s", silence, listed(writes))
	}
	t.Errorf("after four minutes of calm the manager still wrote%s", listed(writes))
}

// tell prints what was done, and after a failure how things stand.
func (o *oracle) tell(t *testing.T) {
	t.Helper()
	t.Logf("what was done:%s", &o.timeline)
	if t.Failed() {
		t.Log("how things stand:" + o.account(context.Background()))
	}
}

// account is how the server's Upstream and the pools see it.
func (o *oracle) account(ctx context.Context) string {
	var upstream poolv1.Upstream
	if err := o.client.Get(ctx, types.NamespacedName{Name: o.upstream}, &upstream); err != nil {
		return "\n    there is no account: " + err.Error()
	}
	status := upstream.Status
	lines := slices.Clone(status.Account)
	lines = append(lines, fmt.Sprintf("budget %d, granted %d%s", deref(status.Capacity.Budget), deref(status.Granted), spoken(status.Conditions)))
	for _, p := range status.Pools {
		lines = append(lines, fmt.Sprintf("pool %s: weight %d, share %d, granted %d, held %d, waiting %d",
			p.Name, p.Weight, deref(p.Share), deref(p.Granted), deref(p.Held), deref(p.Waiting)))
	}
	for _, e := range status.Ledger {
		lines = append(lines, fmt.Sprintf("pod %s: generation %d, granted %d, held %d", e.Pod, deref(e.Gen), deref(e.Granted), deref(e.Held)))
	}
	var pods corev1.PodList
	if err := o.client.List(ctx, &pods, client.InNamespace(o.namespace)); err == nil {
		for _, pod := range pods.Items {
			lines = append(lines, fmt.Sprintf("pod %s at %s: ready %t, ending %t, %s", pod.Name, pod.Status.PodIP,
				isReady(pod), pod.DeletionTimestamp != nil, pod.Annotations[poolv1.GrantAnnotation]))
		}
	}
	return "\n    " + strings.Join(lines, "\n    ")
}

func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
