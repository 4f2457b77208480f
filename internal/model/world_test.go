// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

const (
	namespace    = "apps"
	upstreamName = "db"
	endpoint     = "db:5432"
	// direct connections are left to others in every run: admission reads no other
	// number than the server's own and this one.
	direct      = 2
	gracePeriod = time.Minute
)

// environment is what can go wrong in a run beyond the daily.
type environment struct {
	// forced deletions and partitions: a process lives on when its object is gone.
	// Nodes that start anew forget what pods remembered.
	hostile bool
	// losesLedger is whether the ledger is dropped, put back from a copy, or deleted.
	losesLedger bool
}

// world is all there is, in one moment. What happens in it is up to the test.
type world struct {
	environment
	mutant  mutant
	api     *api
	server  postgreSQL
	pods    []*pod
	leaders [2]*leader
	// seconds have passed, and ticks of a microsecond: no two looks are of one moment.
	seconds, ticks int64
	// wire holds writes whose callers have given up on them.
	wire []func() error
	// templates are the revisions of the pools' pods.
	templates map[string]int
	configs   int
	// writes counts those of the ledger.
	writes int
	// backups are statuses of the Upstream to put back.
	backups []poolv1.UpstreamStatus
	// numbers are all grants that were ever in the ledger, by pod and number.
	numbers map[string]string
	// peers are the numbers that pods were told, by UID.
	peers map[string]int32

	mu sync.Mutex
	// broken is the first invariant that did not hold; trace is how it came to it.
	broken string
	trace  []string
}

func newWorld(env environment, m mutant, connections int32) *world {
	w := &world{environment: env, mutant: m, templates: map[string]int{}, numbers: map[string]string{}, peers: map[string]int32{}}
	w.api = newAPI(w.clock)
	w.server = postgreSQL{w: w, up: true, max: connections, superuserReserved: 1, started: w.clock()}
	w.makeUpstream()
	for i := range w.leaders {
		w.leaders[i] = newLeader(w, string(rune('A'+i)))
	}
	return w
}

func (w *world) clock() time.Time {
	return time.Unix(1_800_000_000+w.seconds, 0).Add(time.Duration(w.ticks) * time.Microsecond).UTC()
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// violate keeps the first invariant that does not hold.
func (w *world) violate(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// makeUpstream is what the pools' reconciler does for a server without an Upstream.
func (w *world) makeUpstream() {
	_ = w.api.create(upstreams, &poolv1.Upstream{ // It may be there.
		ObjectMeta: metav1.ObjectMeta{
			Name: upstreamName, Finalizers: []string{poolv1.UpstreamFinalizer},
			Annotations: map[string]string{"poolfleet.dev/endpoint": endpoint},
		},
		Spec: poolv1.UpstreamSpec{DirectConnections: new(intstr.FromInt32(direct))},
	})
}

func (w *world) upstream() *poolv1.Upstream {
	if u, ok := w.api.now(upstreams)[types.NamespacedName{Name: upstreamName}].(*poolv1.Upstream); ok {
		return u
	}
	return &poolv1.Upstream{}
}

func poolKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func (w *world) pool(name string) *poolv1.ConnectionPool {
	p, _ := w.api.now(pools)[poolKey(name)].(*poolv1.ConnectionPool)
	return p
}

// poolNames are those of the pools that are there.
func (w *world) poolNames() []string {
	var names []string
	for _, o := range w.api.now(pools).sorted() {
		names = append(names, o.GetName())
	}
	return names
}

// addPool makes a pool, and the Secret that its pods' answers are signed with.
func (w *world) addPool(name string, replicas, databases int32, connections poolv1.ServerConnections) {
	p := &poolv1.ConnectionPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       poolv1.ConnectionPoolSpec{Replicas: &replicas, ServerConnections: connections},
	}
	for i := range databases {
		p.Spec.Databases = append(p.Spec.Databases, poolv1.PooledDatabase{Name: fmt.Sprint("db", i)})
	}
	p.Status.ConfigRevision = "c0"
	p.Status.Upstream.Name, p.Status.Upstream.Endpoint = upstreamName, endpoint
	if w.api.create(pools, p) != nil {
		return
	}
	document, _, err := contract.Document{Version: contract.DocumentVersion, StatusKey: make([]byte, 32)}.Encode()
	if err != nil {
		panic(err)
	}
	_ = w.api.create(secrets, &corev1.Secret{ // One of an earlier pool of that name serves as well.
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: manifests.ConfigSecretName(name),
			OwnerReferences: []metav1.OwnerReference{{Kind: "ConnectionPool", Name: name, UID: p.UID, Controller: new(true)}},
		},
		Data: map[string][]byte{contract.ConfigKey: document},
	})
}

func (w *world) changePool(name string, change func(*poolv1.ConnectionPool)) {
	w.api.change(pools, poolKey(name), func(o client.Object) { change(as[*poolv1.ConnectionPool](o)) })
}

// newPod makes a pod's object as a ReplicaSet does, or a person with a copy.
func (w *world) newPod(pool, name string, from *pod) *pod {
	labels := manifests.Labels(pool)
	labels[appsv1.DefaultDeploymentUniqueLabelKey] = fmt.Sprint(w.templates[pool])
	o := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: labels,
			Annotations:     map[string]string{manifests.UpstreamAnnotation: upstreamName},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: pool, UID: "rs"}},
		},
		Spec: corev1.PodSpec{NodeName: "node"},
	}
	if from != nil && from.object() != nil {
		o.Annotations = copyOf(from.object()).GetAnnotations()
		o.OwnerReferences = nil
	}
	if w.api.create(podsKind, o) != nil {
		return nil
	}
	p := &pod{
		w: w, key: client.ObjectKeyFromObject(o), uid: string(o.UID), ip: w.freeAddress(), pool: pool,
		template: w.templates[pool], copied: from != nil, accounted: true, saidBefore: map[*leader]int{},
	}
	w.pods = append(w.pods, p)
	return p
}

// freeAddress is the lowest that no pod has: addresses come back.
func (w *world) freeAddress() string {
	for n := 1; ; n++ {
		ip := fmt.Sprintf("10.0.1.%d", n)
		if !slices.ContainsFunc(w.pods, func(p *pod) bool { return p.ip == ip && !p.over() }) {
			return ip
		}
	}
}

// answering is the pod whose pooler is to be reached at an address.
func (w *world) answering(ip string) *pod {
	for _, p := range w.pods {
		if p.ip == ip && p.started && !p.ended && !p.cutOff {
			return p
		}
	}
	return nil
}

// sweep forgets pods that have neither object nor process, and has all that run
// note down what they could answer.
func (w *world) sweep() {
	w.pods = slices.DeleteFunc(w.pods, func(p *pod) bool { return p.ended && p.object() == nil })
	for _, p := range w.pods {
		p.note()
		if p.started && !p.ended {
			p.say()
		}
	}
}

// close ends all goroutines.
func (w *world) close() {
	for _, l := range w.leaders {
		l.kill()
	}
}

// String is the world for someone who looks for the reason of a failure.
func (w *world) String() string {
	var b strings.Builder
	for i, line := range w.trace {
		fmt.Fprintf(&b, "%3d %s\n", i, line)
	}
	u := w.upstream()
	fmt.Fprintf(&b, "server: %d connections, up %t, %d orphans, %d others\n", w.server.max, w.server.up, w.server.orphans, w.server.others)
	fmt.Fprintf(&b, "ledger: gen %d\n", value(u.Status.LedgerGeneration))
	for _, e := range u.Status.Ledger {
		fmt.Fprintf(&b, "  %s (%s) of %s: gen %d, granted %d, held %d, config %s\n", e.UID, e.Pod, e.Pool, *e.Gen, *e.Granted, *e.Held, e.Config)
	}
	for _, a := range u.Status.Pools {
		fmt.Fprintf(&b, "  pool %s: weight %d, floor %d, share %d, held %d, waiting %d\n", a.Name, a.Weight, a.Floor, *a.Share, *a.Held, value(a.Waiting))
	}
	for _, p := range w.pods {
		fmt.Fprintf(&b, "  pod %s\n", p.describe())
	}
	return b.String()
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
