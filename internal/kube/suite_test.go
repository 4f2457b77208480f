// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// apiServer is the real API server of this package's tests, seen as the operator
// sees it: through a cache.
var apiServer cluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	log.SetLogger(logr.Discard())
	environment := &envtest.Environment{BinaryAssetsDirectory: assets()}
	if _, err := os.Stat(filepath.Join(assets(), "kube-apiserver")); err != nil {
		fmt.Fprintf(os.Stderr, "the API server is not in %s: `make test` brings it, or `hack/localcluster/build.sh`\n", assets())
		return 1
	}
	config, err := environment.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the API server:", err)
		return 1
	}
	defer func() { _ = environment.Stop() }()

	scheme := runtime.NewScheme()
	err = clientgoscheme.AddToScheme(scheme)
	if err == nil {
		err = poolv1.AddToScheme(scheme)
	}
	if err == nil {
		apiServer, err = cluster.New(config, func(o *cluster.Options) { o.Scheme = scheme })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "connecting to the API server:", err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = apiServer.Start(ctx) }()
	return m.Run()
}

// assets is where envtest's binaries are.
func assets() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", ".cache", "envtest")
}

// world is a namespace with a pool in it, and an Applier whose writes are counted.
type world struct {
	t       *testing.T
	client  *watchedClient
	applier *Applier
	pool    *poolv1.ConnectionPool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kube-"}}
	if err := apiServer.GetClient().Create(t.Context(), namespace); err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	c := &watchedClient{Client: apiServer.GetClient()}
	return &world{
		t:       t,
		client:  c,
		applier: NewApplier(c, apiServer.GetAPIReader()),
		pool:    aPool(namespace.Name, "shop", "uid-of-shop"),
	}
}

func aPool(namespace, name, uid string) *poolv1.ConnectionPool {
	return &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}}
}

// watchedClient counts writes, and does something else first if asked to.
type watchedClient struct {
	client.Client
	applies, deletes int
	beforeApply      func()
}

func (c *watchedClient) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	c.applies++
	if before := c.beforeApply; before != nil {
		c.beforeApply = nil
		before()
	}
	return c.Client.Apply(ctx, object, options...)
}

func (c *watchedClient) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	c.deletes++
	return c.Client.Delete(ctx, object, options...)
}

// inputs are those of a pool with everything that has an object of its own.
func (w *world) inputs() manifests.Inputs {
	in := manifests.FromPool(w.pool)
	in.Replicas = 2
	in.Image = "example.com/pooler:1"
	in.NetworkPolicy.Mode = poolv1.NetworkPolicyEnabled
	in.UpstreamPort = 5432
	in.OperatorNamespace = "poolfleet-system"
	in.Config, in.ConfigRevision = []byte(`{"version":1}`), "r1"
	in.Published = map[string][]byte{"password": []byte("hidden-in-the-secret")}
	return in
}

func (w *world) apply(in manifests.Inputs) error {
	w.t.Helper()
	return w.applier.Apply(w.t.Context(), w.pool, manifests.Build(in)...)
}

func (w *world) mustApply(in manifests.Inputs) {
	w.t.Helper()
	if err := w.apply(in); err != nil {
		w.t.Fatalf("applying: %v", err)
	}
}

// writes returns how many writes an apply of the inputs and a prune take.
func (w *world) writes(in manifests.Inputs) int {
	w.t.Helper()
	before := w.client.applies + w.client.deletes
	w.mustApply(in)
	w.mustPrune(in)
	return w.client.applies + w.client.deletes - before
}

func (w *world) mustPrune(in manifests.Inputs) {
	w.t.Helper()
	if err := w.applier.Prune(w.t.Context(), w.pool, manifests.Build(in)...); err != nil {
		w.t.Fatalf("pruning: %v", err)
	}
}

// caughtUp waits until the cache shows what the API server has.
func (w *world) caughtUp() {
	w.t.Helper()
	g := gomega.NewWithT(w.t)
	g.Eventually(func(g gomega.Gomega) {
		for _, kind := range ownedKinds {
			live := listShapeOf(kind)
			seen := listShapeOf(kind)
			g.Expect(apiServer.GetAPIReader().List(w.t.Context(), live, client.InNamespace(w.pool.Namespace))).To(gomega.Succeed())
			g.Expect(apiServer.GetClient().List(w.t.Context(), seen, client.InNamespace(w.pool.Namespace))).To(gomega.Succeed())
			g.Expect(versions(w.t, seen)).To(gomega.Equal(versions(w.t, live)))
		}
	}).WithTimeout(20 * time.Second).Should(gomega.Succeed())
}

// versions returns the resource version of each object of a list, by name.
func versions(t *testing.T, list runtime.Object) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			all[object.GetName()] = object.GetResourceVersion()
		}
		return err
	})
	if err != nil {
		t.Fatalf("reading a list: %v", err)
	}
	return all
}

func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.pool.Namespace, Name: name}
}

// get reads an object from the API server itself.
func get[T client.Object](w *world, name string, into T) T {
	w.t.Helper()
	if err := apiServer.GetAPIReader().Get(w.t.Context(), w.key(name), into); err != nil {
		w.t.Fatalf("reading %T %s: %v", into, name, err)
	}
	return into
}

func (w *world) exists(name string, into client.Object) bool {
	w.t.Helper()
	err := apiServer.GetAPIReader().Get(w.t.Context(), w.key(name), into)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatalf("reading %T %s: %v", into, name, err)
	}
	return !apierrors.IsNotFound(err)
}

// someone is a client of another's: its writes are neither counted nor the operator's.
func someone() client.Client {
	return client.WithFieldOwner(apiServer.GetClient(), "someone")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
