// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/watch"
)

var (
	cluster *rest.Config
	api     client.Client
)

const patience = time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		if err := os.Setenv("KUBEBUILDER_ASSETS", filepath.Join("..", "..", "..", ".cache", "envtest")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true}
	config, err := env.Start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "starting an API server from %s: %v\nmake test builds what is missing there\n", os.Getenv("KUBEBUILDER_ASSETS"), err)
		return 1
	}
	defer func() { _ = env.Stop() }()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), poolv1.AddToScheme(scheme)); err != nil {
		panic(err) // Two kinds of one name: a mistake in this program.
	}
	cluster = config
	if api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// A line to the API server that can be cut.
type line struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the line is down")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	l.conns = append(l.conns, conn)
	return conn, err
}

func (l *line) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// watched starts a watch that ends with the test.
func watched(t *testing.T, line *line, namespaces ...string) (*edge.Directory, *watch.Watch) {
	t.Helper()
	config := rest.CopyConfig(cluster)
	config.Dial = line.dial
	directory := &edge.Directory{Domain: "edge.test"}
	pools, err := watch.New(config, namespaces, directory, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pools.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the watch ends: %v", err)
		}
	})
	return directory, pools
}

func aNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "edge-"}}
	if err := api.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// made is a pool at the API server, ready.
func made(t *testing.T, namespace, name string, spec poolv1.PoolEdge) *poolv1.ConnectionPool {
	t.Helper()
	pool := &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	pool.Spec.Upstream.SecretRef.Name, pool.Spec.Edge = "db", spec
	if err := api.Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	say(t, pool, metav1.ConditionTrue, poolv1.ReasonAvailable)
	return pool
}

func say(t *testing.T, pool *poolv1.ConnectionPool, status metav1.ConditionStatus, reason string) {
	t.Helper()
	meta.SetStatusCondition(&pool.Status.Conditions, metav1.Condition{Type: poolv1.ConditionReady, Status: status, Reason: reason, Message: "told by the test"})
	if err := api.Status().Update(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, pool *poolv1.ConnectionPool, mode poolv1.EdgeMode) {
	t.Helper()
	pool.Spec.Edge.Mode = mode
	if err := api.Update(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until a label leads to a pool of that name, ready or not, or to none.
func becomes(t *testing.T, directory *edge.Directory, label, name string, ready bool) {
	t.Helper()
	var pool edge.Pool
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		pool, _ = directory.Find(label + ".edge.test")
		if pool.Name == name && (pool.Unready == "") == ready {
			return
		}
	}
	t.Fatalf("after %v %s leads to pool %q, unready %q, and not to %q", patience, label, pool.Name, pool.Unready, name)
}

func TestTheDirectoryFollowsPoolsThatAskForTheGateway(t *testing.T) {
	namespace := aNamespace(t)
	directory, pools := watched(t, &line{}, namespace)
	shop := made(t, namespace, "shop", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled, Name: "store"})
	becomes(t, directory, "store", "shop", true)
	if err := pools.Ready(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	say(t, shop, metav1.ConditionFalse, poolv1.ReasonUnavailable)
	becomes(t, directory, "store", "shop", false)
	say(t, shop, metav1.ConditionFalse, poolv1.ReasonPaused)
	becomes(t, directory, "store", "shop", true)
	younger := made(t, namespace, "stall", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled, Name: "store"})
	made(t, namespace, "other", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled})
	becomes(t, directory, "other-"+namespace, "other", true) // It has seen both.
	becomes(t, directory, "store", "shop", true)
	ask(t, shop, poolv1.EdgeDisabled)
	becomes(t, directory, "store", "stall", true)
	ask(t, shop, poolv1.EdgeEnabled)
	becomes(t, directory, "store", "shop", true)
	if err := api.Delete(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	becomes(t, directory, "store", "stall", true)
	if err := api.Delete(t.Context(), younger); err != nil {
		t.Fatal(err)
	}
	becomes(t, directory, "store", "", true)
}

func TestOtherNamespacesAreNotServedWhereSomeAreNamed(t *testing.T) {
	served, other := aNamespace(t), aNamespace(t)
	directory, _ := watched(t, &line{}, served)
	made(t, other, "shop", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled})
	made(t, served, "shop", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled})
	becomes(t, directory, "shop-"+served, "shop", true)
	becomes(t, directory, "shop-"+other, "", true)
}

func TestWhatWasLastKnownHoldsWhileTheAPIServerIsAway(t *testing.T) {
	namespace, line := aNamespace(t), &line{down: true}
	directory, pools := watched(t, line)
	shop := made(t, namespace, "shop", poolv1.PoolEdge{Mode: poolv1.EdgeEnabled})
	if pools.Ready() == nil {
		t.Error("it is ready before it has seen the API server")
	}
	line.set(false)
	becomes(t, directory, "shop-"+namespace, "shop", true)
	line.set(true)
	say(t, shop, metav1.ConditionFalse, poolv1.ReasonUnavailable)
	if err := pools.Ready(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	becomes(t, directory, "shop-"+namespace, "shop", true)
	line.set(false)
	becomes(t, directory, "shop-"+namespace, "shop", false)
}
