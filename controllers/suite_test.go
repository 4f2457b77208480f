// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/kube"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// The API server is real; the database server and the pods are played by the test.
var (
	api     client.WithWatch
	cluster *rest.Config
	servers = &playedServers{answers: map[string]answer{}, looks: map[string]int{}, slow: map[string]chan struct{}{}}
	pods    = &playedPods{keys: map[string]types.NamespacedName{}, stubborn: map[string]bool{}, idle: map[string]bool{}, say: map[string]func(*contract.Status){}}
	signals = controllers.NewSignals()
	writes  writeLog
	hands   shiftedClock
)

// operatorNamespace is where the managers of this suite say they run.
const operatorNamespace = "poolfleet-system"

// shiftedClock is the real one, put forward.
type shiftedClock struct {
	clock.RealClock
	ahead atomic.Int64
}

func (c *shiftedClock) Now() time.Time                  { return c.RealClock.Now().Add(time.Duration(c.ahead.Load())) }
func (c *shiftedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		assets, err := filepath.Abs("../.cache/envtest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.Setenv("KUBEBUILDER_ASSETS", assets); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{"../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := env.Start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "starting an API server from %s: %v\nmake test builds what is missing there\n", os.Getenv("KUBEBUILDER_ASSETS"), err)
		return 1
	}
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if err := startManager(ctx, config, done); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		return 1
	}
	code := m.Run()
	cancel()
	if err := errors.Join(<-done, env.Stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func startManager(ctx context.Context, config *rest.Config, done chan<- error) error {
	var err error
	if api, err = client.NewWithWatch(config, client.Options{Scheme: scheme()}); err != nil {
		return err
	}
	if err := api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}); err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	cluster = config
	mgr, err := newManager(ctx, config, signals)
	if err != nil {
		return err
	}
	go func() { done <- mgr.Start(ctx) }()
	return nil
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), poolv1.AddToScheme(s)); err != nil {
		panic(err) // Two kinds of one name: a mistake in this program.
	}
	return s
}

// newManager is the operator, with memory of its own.
func newManager(ctx context.Context, config *rest.Config, signals *controllers.Signals) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, NewClient: writes.newClient,
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, err
	}
	if err := controllers.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	records, settings := controllers.NewRecords(), controllers.Settings{PoolerImage: "pooler:test", OperatorNamespace: operatorNamespace, EdgeDomain: edgeDomain}
	err = (&controllers.ConnectionPoolReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Applier: kube.NewApplier(mgr.GetClient(), mgr.GetAPIReader()),
		Observer: servers, Lookups: postgres.NewObserver(postgres.Options{}), Asker: pods, Records: records, Signals: signals, Clock: &hands,
		Recorder: mgr.GetEventRecorder("poolfleet"), Settings: settings,
	}).SetupWithManager(mgr)
	if err != nil {
		return nil, err
	}
	err = (&controllers.BudgetReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Asker: pods, Records: records, Signals: signals,
		Clock: &hands, Recorder: mgr.GetEventRecorder("poolfleet"), Settings: settings,
	}).SetupWithManager(mgr)
	return mgr, err
}

// writeLog notes every write of the manager's client, but for events. Patches that hold
// a text of refused do not arrive.
type writeLog struct {
	mu      sync.Mutex
	lines   []string
	refused []string
}

// refuse has patches of an object that hold a text fail until it is called off.
func (w *writeLog) refuse(namespace, text string) (callOff func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.refused
	w.refused = append(slices.Clone(before), namespace+"/"+text)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refused = before
	}
}

func (w *writeLog) admits(o client.Object, p client.Patch) error {
	data, err := p.Data(o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, refused := range w.refused {
		if namespace, text, _ := strings.Cut(refused, "/"); o.GetNamespace() == namespace && strings.Contains(string(data), text) {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, o.GetName(), errors.New("the test refuses"))
		}
	}
	return nil
}

func (w *writeLog) note(verb string, o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf("%s %T %s/%s", verb, o, o.GetNamespace(), o.GetName()))
}

func (w *writeLog) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.lines...)
}

func (w *writeLog) newClient(config *rest.Config, options client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.note("create", o)
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			w.note("update", o)
			return c.Update(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			w.note("delete", o)
			return c.Delete(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.note("patch", o)
			if err := w.admits(o, p); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			w.note("apply", applied(o))
			return c.Apply(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			w.note("update "+sub, o)
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			w.note("apply "+sub, applied(o))
			return c.SubResource(sub).Apply(ctx, o, opts...)
		},
	}), nil
}

// applied is an object of the name that is applied.
func applied(o runtime.ApplyConfiguration) client.Object {
	named, ok := o.(interface{ GetName() *string })
	if !ok || named.GetName() == nil {
		return &metav1.PartialObjectMetadata{}
	}
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: *named.GetName()}}
	if spaced, ok := o.(interface{ GetNamespace() *string }); ok && spaced.GetNamespace() != nil {
		m.Namespace = *spaced.GetNamespace()
	}
	return m
}

// answer is what a look at a played server comes to.
type answer struct {
	observation postgres.Observation
	err         error
}

// playedServers answer by endpoint. An unknown one does not answer.
type playedServers struct {
	mu      sync.Mutex
	answers map[string]answer
	looks   map[string]int
	slow    map[string]chan struct{}
	// passwords are the only ones that some servers let in.
	passwords map[string]string
}

// accept has a server let in one password alone.
func (s *playedServers) accept(host, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passwords == nil {
		s.passwords = map[string]string{}
	}
	s.passwords[host+":5432"] = password
}

// looksAt is how often a server was looked at.
func (s *playedServers) looksAt(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks[host+":5432"]
}

func (s *playedServers) Observe(ctx context.Context, source postgres.Source) (postgres.Observation, error) {
	s.mu.Lock()
	s.looks[source.Endpoint()]++
	slow := s.slow[source.Endpoint()]
	s.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.answers[source.Endpoint()]
	if !ok {
		return postgres.Observation{}, &postgres.Error{Reason: postgres.Unreachable, Message: "nothing answers"}
	}
	if password, only := s.passwords[source.Endpoint()]; only && password != source.Password {
		return postgres.Observation{}, &postgres.Error{Reason: postgres.AuthenticationFailed, Message: "the server refused the password"}
	}
	return a.observation, a.err
}

// slowDown lets looks at a server take until the function it returns is called.
func (s *playedServers) slowDown(host string) (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slow := make(chan struct{})
	s.slow[host+":5432"] = slow
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.slow, host+":5432")
		close(slow)
	}
}

func (s *playedServers) set(endpoint string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[endpoint] = a
}

// playedPods answer for their status by IP address, as if they had done at once
// what their annotation says. A stubborn one has done nothing yet.
type playedPods struct {
	mu       sync.Mutex
	keys     map[string]types.NamespacedName
	stubborn map[string]bool
	idle     map[string]bool
	say      map[string]func(*contract.Status)
}

func (p *playedPods) Ask(ctx context.Context, ip string, _ []byte) (contract.Status, error) {
	p.mu.Lock()
	key, known := p.keys[ip]
	stubborn, idle, say := p.stubborn[ip], p.idle[ip], p.say[ip]
	p.mu.Unlock()
	var pod corev1.Pod
	if !known || stubborn || api.Get(ctx, key, &pod) != nil {
		return contract.Status{}, errors.New("no answer")
	}
	grant, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
	current := grant.Share
	if idle {
		current = 0
	}
	status := contract.Status{UID: string(pod.UID), Gen: grant.Gen, Config: grant.Config, Cap: grant.Share, Current: current}
	if say != nil {
		say(&status)
	}
	return status, err
}

// setSaid has a pod say more than that it has done as it was told; nil no longer.
func (p *playedPods) setSaid(pod *corev1.Pod, say func(*contract.Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say[pod.Status.PodIP] = say
}

func (p *playedPods) run(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[pod.Status.PodIP] = client.ObjectKeyFromObject(pod)
}

func (p *playedPods) setIdle(pod *corev1.Pod, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[pod.Status.PodIP] = idle
}

func (p *playedPods) setStubborn(pod *corev1.Pod, stubborn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stubborn[pod.Status.PodIP] = stubborn
}

var serial atomic.Int64

// server plays a PostgreSQL with a max_connections of its own identity, and
// returns its host.
func server(t *testing.T, maxConnections int32) string {
	t.Helper()
	host := fmt.Sprintf("db%d.example.com", serial.Add(1))
	servers.set(host+":5432", answer{observation: observed(host, maxConnections)})
	return host
}

func observed(host string, maxConnections int32) postgres.Observation {
	return postgres.Observation{
		Version: "18.1", VersionNum: 180001, MaxConnections: maxConnections, SuperuserReserved: 3,
		SystemIdentifier: host, StartTime: time.Unix(1_700_000_000, 0), BackendPIDMatches: true,
		AdmissionChecked: true,
	}
}

// namespace makes a namespace that only this test uses.
func namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", serial.Add(1))
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return name
}

func create(t *testing.T, o client.Object) {
	t.Helper()
	if err := api.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// change updates an object, again where the manager wrote in between.
func change(t *testing.T, o client.Object, edit func()) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
		edit()
		g.Expect(api.Update(t.Context(), o)).To(gomega.Succeed())
	})
}

// secretFor makes the Secret that a pool reads.
func secretFor(t *testing.T, ns, name, host string) {
	t.Helper()
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		StringData: map[string]string{"DATABASE_URL": "postgresql://shop:" + upstreamPassword + "@" + host + "/shop?sslmode=require"},
	})
}

const upstreamPassword = "s3cret-of-the-server"

func aPool(ns, name string, changes ...func(*poolv1.ConnectionPool)) *poolv1.ConnectionPool {
	pool := &poolv1.ConnectionPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       poolv1.ConnectionPoolSpec{Upstream: poolv1.UpstreamSource{SecretRef: poolv1.UpstreamSecretReference{Name: name + "-db"}}},
	}
	for _, change := range changes {
		change(pool)
	}
	return pool
}

// serve makes a pool on a server, with its Secret.
func serve(t *testing.T, ns, name, host string, changes ...func(*poolv1.ConnectionPool)) *poolv1.ConnectionPool {
	t.Helper()
	secretFor(t, ns, name+"-db", host)
	pool := aPool(ns, name, changes...)
	create(t, pool)
	return pool
}

// podOf plays a pooler pod of a pool as its ReplicaSet would make it, running.
func podOf(t *testing.T, pool *poolv1.ConnectionPool, name string) *corev1.Pod {
	t.Helper()
	u := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pool.Namespace, Name: name, Labels: manifests.Labels(pool.Name),
			Annotations:     map[string]string{manifests.UpstreamAnnotation: u.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: types.UID("rs"), Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "pooler", Image: "pooler:test"}}},
	}
	create(t, pod)
	pod.Status.PodIP = fmt.Sprintf("10.0.%d.%d", serial.Add(1)%250, serial.Add(1)%250)
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "pooler", Image: "pooler:test", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	pods.run(pod)
	if err := api.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// grantOf waits for a pod's grant of so many connections.
func grantOf(t *testing.T, pod *corev1.Pod, share int32) {
	t.Helper()
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)).To(gomega.Succeed())
		grant, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
		g.Expect(err).NotTo(gomega.HaveOccurred())
		g.Expect(grant.Share).To(gomega.Equal(share))
	})
}

// upstreamFor waits until the pool's Upstream satisfies the check.
func upstreamFor(t *testing.T, pool *poolv1.ConnectionPool, check func(gomega.Gomega, *poolv1.Upstream)) *poolv1.Upstream {
	t.Helper()
	var u poolv1.Upstream
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		g.Expect(pool.Status.Upstream.Name).NotTo(gomega.BeEmpty())
		g.Expect(api.Get(t.Context(), types.NamespacedName{Name: pool.Status.Upstream.Name}, &u)).To(gomega.Succeed())
		check(g, &u)
	})
	return &u
}

// says waits until a condition of the pool has a status and a reason, and returns it.
func says(t *testing.T, pool *poolv1.ConnectionPool, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var c metav1.Condition
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		found := meta.FindStatusCondition(pool.Status.Conditions, kind)
		g.Expect(found).NotTo(gomega.BeNil())
		g.Expect([]string{string(found.Status), found.Reason}).To(gomega.Equal([]string{string(status), reason}), found.Message)
		c = *found
	})
	return c
}

func eventually(t *testing.T, check func(gomega.Gomega)) {
	t.Helper()
	gomega.NewWithT(t).Eventually(check).WithTimeout(30 * time.Second).WithPolling(50 * time.Millisecond).Should(gomega.Succeed())
}
