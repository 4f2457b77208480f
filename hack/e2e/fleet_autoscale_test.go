// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// autoscaler wants a tenth of a processor used by each pooler, and acts at once
// where by default it would wait 5 minutes before it scales down.
const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {namespace: %s, name: shop}
spec:
  scaleTargetRef: {apiVersion: poolfleet.dev/v1alpha1, kind: ConnectionPool, name: shop}
  minReplicas: 2
  maxReplicas: 4
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0}
    scaleDown: {stabilizationWindowSeconds: 0}
`

// metricsService makes a server outside the cluster the API of what pods use. The
// APIService comes first, and goes first: while nothing answers for it, discovery
// fails, and with that the end of any namespace.
const metricsService = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {namespace: %[1]s, name: metrics}
  caBundle: %[4]s
---
apiVersion: v1
kind: Service
metadata: {namespace: %[1]s, name: metrics}
spec:
  ports: [{name: https, port: 443, targetPort: %[3]s}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: %[1]s, name: metrics, labels: {kubernetes.io/service-name: metrics}}
addressType: IPv4
ports: [{name: https, port: %[3]s}]
endpoints: [{addresses: ["%[2]s"]}]
`

// autoscales leaves the number of poolers to an autoscaler and to the CPU time they
// are said to use, and then to kubectl.
func (f *fleet) autoscales(t *testing.T) {
	t.Helper()
	metrics := f.playMetrics(t)
	stop := f.bounded(t)
	f.expendable(t)
	metrics.millicores.Store(400)
	f.applied(t, fmt.Sprintf(autoscaler, f.namespace))
	f.awaitDivided(t, 4)
	before := f.tally().renewed
	metrics.millicores.Store(10)
	f.awaitDivided(t, 2)
	if f.tally().renewed == before {
		t.Error("no client was connected to the poolers that went")
	}
	f.kubectl(t, "delete", "horizontalpodautoscaler", "shop")
	f.kubectl(t, "scale", "connectionpool", "shop", "--replicas=3")
	f.awaitDivided(t, 3)
	stop()
	f.awaitReady(t, f.pool)
}

// expendable has the poolers that there are, which have the clients, go before those
// to come. Source: Kubernetes documentation, "Pod deletion cost" of ReplicaSets.
func (f *fleet) expendable(t *testing.T) {
	t.Helper()
	for _, pod := range f.poolers(t, f.pool) {
		f.change(t, &pod, func() { metav1.SetMetaDataAnnotation(&pod.ObjectMeta, corev1.PodDeletionCost, "-1") })
	}
}

func (f *fleet) kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := f.tools.Run(t.Context(), "", f.tools.Kubectl, append(args, "--namespace", f.namespace)...); err != nil {
		t.Fatal(err)
	}
}

// applied applies manifests that are gone again after the test.
func (f *fleet) applied(t *testing.T, manifests string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := f.tools.Run(context.Background(), manifests, f.tools.Kubectl, "delete", "--ignore-not-found", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	if err := f.tools.KubectlApply(t.Context(), manifests); err != nil {
		t.Fatal(err)
	}
}

// awaitDivided waits until so many poolers serve and have the whole budget in equal
// parts. On the way the ledger never exceeds it.
func (f *fleet) awaitDivided(t *testing.T, poolers int) {
	t.Helper()
	from := time.Now()
	eventually(t, fmt.Sprintf("%d poolers divide the budget", poolers), func() error {
		upstream := f.upstreamOf(t, f.pool)
		if err := withinBudget(upstream); err != nil {
			t.Error(err)
		}
		var granted, least, most int32
		for i, entry := range upstream.Status.Ledger {
			if granted += *entry.Granted; i == 0 {
				least = *entry.Granted
			}
			least, most = min(least, *entry.Granted), max(most, *entry.Granted)
		}
		there, ready, entries := len(f.running(t)), len(f.readyPods(t)), len(upstream.Status.Ledger)
		budget := *upstream.Status.Capacity.Budget - deref(upstream.Status.Use.Deducted)
		if there != poolers || ready != poolers || entries != poolers || granted != budget || most-least > 1 {
			return fmt.Errorf("%d are there, %d ready, %d in the ledger with %d to %d each, %d of %d in all%s",
				there, ready, entries, least, most, granted, budget, f.autoscalerSays(t))
		}
		return nil
	})
	t.Logf("%d poolers divide the budget after %.1f s", poolers, time.Since(from).Seconds())
}

// autoscalerSays is how the autoscaler stands, if there is one.
func (f *fleet) autoscalerSays(t *testing.T) string {
	t.Helper()
	said := ""
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := f.client.List(t.Context(), &list, client.InNamespace(f.namespace)); err != nil {
		return err.Error()
	}
	for _, a := range list.Items {
		said += fmt.Sprintf("\n    the autoscaler wants %d", a.Status.DesiredReplicas)
		for _, c := range a.Status.Conditions {
			said += fmt.Sprintf("\n    %s=%s, %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return said
}

// bounded watches the server until the function it returns is called, which checks
// that the pool never had more than its budget, and a login in flight for each of
// four poolers and the operator.
func (f *fleet) bounded(t *testing.T) (stop func()) {
	t.Helper()
	watch, err := load.Watch(t.Context(), f.server.AdminURL(), f.dialer.DialContext, "shop")
	if err != nil {
		t.Fatal(err)
	}
	budget := int(*f.upstreamOf(t, f.pool).Status.Capacity.Budget)
	return func() {
		seen, err := watch.Stop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("at most %d backends of the pool of a budget of %d in %d samples", seen.Largest, budget, seen.Samples)
		if limit := budget + 4 + 1; seen.Largest > limit {
			t.Errorf("the server saw %d backends of the pool, want at most %d", seen.Largest, limit)
		}
	}
}

// metricsAPI says of every pod that it uses so much CPU time. Source: the API
// metrics.k8s.io/v1beta1, which metrics-server serves elsewhere.
type metricsAPI struct {
	client     client.Client
	millicores atomic.Int64
}

// playMetrics serves the metrics API from this process to the cluster.
func (f *fleet) playMetrics(t *testing.T) *metricsAPI {
	t.Helper()
	api := &metricsAPI{client: f.client}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1", api.discover)
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", api.pods)
	certificate, key, err := install.SelfSigned("metrics." + f.namespace + ".svc")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{
		Listener: f.listen(t), Config: &http.Server{Handler: mux}, TLS: &tls.Config{Certificates: []tls.Certificate{pair}},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	host, port := hostAndPort(t, server.Listener.Addr())
	f.applied(t, fmt.Sprintf(metricsService, f.namespace, host, port, base64.StdEncoding.EncodeToString(certificate)))
	f.kubectl(t, "wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout="+patience.String())
	return api
}

// listen is reached from the cluster: it has the address that this machine speaks
// to the API server from.
func (f *fleet) listen(t *testing.T) net.Listener {
	t.Helper()
	address, err := url.Parse(f.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	host, _ := hostAndPort(t, conn.LocalAddr())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func hostAndPort(t *testing.T, address net.Addr) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func (*metricsAPI) discover(w http.ResponseWriter, _ *http.Request) {
	answer(w, metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: "metrics.k8s.io/v1beta1",
		APIResources: []metav1.APIResource{{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: metav1.Verbs{"get", "list"}}},
	})
}

// pods answers for those pods that the autoscaler selects, by what the pool's scale
// says of them.
func (m *metricsAPI) pods(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var pods corev1.PodList
	if err := m.client.List(r.Context(), &pods, client.InNamespace(r.PathValue("namespace")), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	items := make([]any, 0, len(pods.Items))
	for _, pod := range pods.Items {
		items = append(items, map[string]any{
			"metadata":  map[string]any{"namespace": pod.Namespace, "name": pod.Name},
			"timestamp": metav1.Now(), "window": "1s",
			"containers": []any{map[string]any{
				"name": pod.Spec.Containers[0].Name, "usage": map[string]any{"cpu": fmt.Sprintf("%dm", m.millicores.Load())},
			}},
		})
	}
	answer(w, map[string]any{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": map[string]any{}, "items": items})
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object) // Who has gone does not want the answer.
}
