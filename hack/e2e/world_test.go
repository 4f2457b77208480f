// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/reach"
)

// patience is how long anything may take that is about to happen. It is long for
// slow machines; nothing is judged by how long it took.
const patience = 90 * time.Second

// world is the cluster that the tests run on, seen by its administrator.
type world struct {
	client    client.Client
	clientset kubernetes.Interface
	config    *rest.Config
	dialer    *reach.Dialer
	tools     install.Tools
	chart     install.Chart
	audit     auditLog
	passwords *passwords
}

var theWorld = sync.OnceValues(newWorld)

// connect returns the cluster of KUBECONFIG, which `make e2e` sets.
func connect(t *testing.T) *world {
	t.Helper()
	w, err := theWorld()
	if err != nil {
		t.Fatalf("connecting to the cluster; `make e2e` brings one up: %v", err)
	}
	w.tools = tools(t)
	images, err := install.ReadImages(top(".cache/images"), false)
	if err != nil {
		t.Fatal(err)
	}
	w.chart = install.Chart{Tools: w.tools, Dir: top("charts/poolfleet"), Images: images}
	w.loadImages(t)
	return w
}

// loadImages brings the images that `make images` made into the cluster's nodes.
func (w *world) loadImages(t *testing.T) {
	t.Helper()
	localcluster, err := install.FindTool(top(".cache/bin"), "localcluster")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"load-image", "--state", filepath.Dir(os.Getenv("KUBECONFIG"))}
	for _, image := range []install.Image{w.chart.Images.Manager, w.chart.Images.Pooler, w.chart.Images.Edge, w.chart.Images.Postgres} {
		args = append(args, image.Archive)
	}
	if _, err := w.tools.Run(t.Context(), "", localcluster, args...); err != nil {
		t.Fatal(err)
	}
}

func newWorld() (*world, error) {
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		return nil, errors.New("KUBECONFIG is not set")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), poolv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	w := &world{config: config, passwords: &passwords{}}
	if w.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if w.clientset, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if w.dialer, err = reach.New(context.Background(), w.client, config); err != nil {
		return nil, err
	}
	w.audit, err = findAuditLog(kubeconfig)
	return w, err
}

// namespace makes a namespace of its own for a test, which admits nothing but pods
// of the restricted standard, and removes it in the end.
func (w *world) namespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	w.create(t, namespace)
	t.Cleanup(func() {
		if err := w.client.Delete(context.Background(), namespace); err != nil {
			t.Errorf("removing the test's namespace: %v", err)
		}
	})
	return namespace.Name
}

func (w *world) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.client.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

// get reads an object anew.
func (w *world) get(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatalf("reading %T %s: %v", object, object.GetName(), err)
	}
}

// change reads an object, edits it and writes only what was edited.
func (w *world) change(t *testing.T, object client.Object, edit func()) {
	t.Helper()
	w.get(t, object)
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("%T is no object", object)
	}
	edit()
	if err := w.client.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
		t.Fatalf("changing %T %s: %v", object, object.GetName(), err)
	}
}

func (w *world) delete(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.client.Delete(t.Context(), object); err != nil {
		t.Fatalf("deleting %T %s: %v", object, object.GetName(), err)
	}
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

// extract returns the objects of a list.
func extract(list client.ObjectList) ([]client.Object, error) {
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	objects := make([]client.Object, 0, len(items))
	for _, item := range items {
		if object, ok := item.(client.Object); ok {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// untouched checks that nobody has written an object since it was made.
func (w *world) untouched(t *testing.T, object client.Object) {
	t.Helper()
	before := object.GetResourceVersion()
	w.get(t, object)
	if object.GetResourceVersion() != before {
		t.Errorf("%T %s was written by someone", object, object.GetName())
	}
}
