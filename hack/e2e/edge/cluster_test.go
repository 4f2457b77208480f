// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/reach"
)

// patience is how long anything may take that is about to happen.
const patience = 90 * time.Second

// top is the directory of the whole project.
const top = "../../.."

// cluster is the one of KUBECONFIG, seen by its administrator.
type cluster struct {
	client client.Client
	dialer *reach.Dialer
	tools  install.Tools
	images install.Images
}

func connect(t *testing.T) *cluster {
	t.Helper()
	c, err := newCluster(t.Context(), os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("connecting to the cluster, which `make e2e-edge` brings up: %v", err)
	}
	archives := []string{c.images.Manager.Archive, c.images.Pooler.Archive, c.images.Edge.Archive, c.images.AccelerateLegacy.Archive, c.images.Postgres.Archive}
	localcluster, err := install.FindTool(top+"/.cache/bin", "localcluster")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"load-image", "--state", filepath.Dir(os.Getenv("KUBECONFIG"))}, archives...)
	if _, err := c.tools.Run(t.Context(), "", localcluster, args...); err != nil {
		t.Fatal(err)
	}
	return c
}

func newCluster(ctx context.Context, kubeconfig string) (*cluster, error) {
	if kubeconfig == "" {
		return nil, errors.New("KUBECONFIG is not set")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), poolv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c := &cluster{}
	if c.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if c.dialer, err = reach.New(ctx, c.client, config); err != nil {
		return nil, err
	}
	if c.images, err = install.ReadImages(top+"/.cache/images", false); err != nil {
		return nil, err
	}
	for name, path := range map[string]*string{"kubectl": &c.tools.Kubectl, "helm": &c.tools.Helm} {
		if *path, err = install.FindTool(top+"/.cache/bin", name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// install installs the operator with the gateway until the test is over, and returns
// the authority that the gateway's certificate comes from.
func (c *cluster) install(t *testing.T, edge install.Edge) (authority string) {
	t.Helper()
	pem, err := edge.Certificate(t.Context(), c.client)
	if err != nil {
		t.Fatal(err)
	}
	chart := install.Chart{Tools: c.tools, Dir: top + "/charts/poolfleet", Images: c.images, Edge: &edge}
	t.Cleanup(func() {
		if err := chart.Uninstall(context.Background()); err != nil {
			t.Errorf("uninstalling the operator: %v", err)
		}
	})
	if _, err := chart.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	return string(pem)
}

// namespace makes a namespace and removes it in the end.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-edge-"}}
	c.create(t, namespace)
	t.Cleanup(func() {
		if err := c.client.Delete(context.Background(), namespace); err != nil {
			t.Errorf("removing the test's namespace: %v", err)
		}
	})
	return namespace.Name
}

func (c *cluster) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := c.client.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

func (c *cluster) get(t *testing.T, object client.Object) {
	t.Helper()
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatalf("reading %T %s: %v", object, object.GetName(), err)
	}
}

// addressOf is what a Service has in the cluster; this machine has a route to it.
func (c *cluster) addressOf(t *testing.T, namespace, name string) string {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.get(t, service)
	return service.Spec.ClusterIP
}

// run runs statements at a server.
func (c *cluster) run(ctx context.Context, url, statements string) error {
	config, err := load.Config(url, c.dialer.DialContext)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statements).ReadAll()
	return err
}

// eventually waits until check finds nothing wrong any more.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
