// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

var gatewayLabels = client.MatchingLabels{"app.kubernetes.io/name": "poolfleet", "app.kubernetes.io/component": "edge"}

// TestEdgeInstalled follows the gateway from its installation by the chart to its end.
func TestEdgeInstalled(t *testing.T) {
	v := connect(t).openEdge(t)
	t.Run("its pods are ready where only restricted pods are admitted", v.gatewaysAreReady)
	t.Run("it may read ConnectionPools and nothing else", v.gatewayReadsPoolsAlone)
	t.Run("a query over HTTP is answered", v.answersHTTP)
	t.Run("a wrong password is PostgreSQL's own error", v.refusesWrongPassword)
	t.Run("pgx queries over a WebSocket", v.answersWebSocket)
	t.Run("an upgrade under load fails no request", v.upgradesUnderLoad)
	t.Run("no password is told", func(t *testing.T) {
		v.noPasswordIsTold(t, v.namespace)
		for pod, text := range v.logs(t, install.Namespace, gatewayLabels) {
			if v.passwords.in(text) {
				t.Errorf("there is one in the log of %s", pod)
			}
		}
	})
	t.Run("turned off, it is gone", v.turnsOff)
}

// openEdge installs the operator with the gateway, and makes a pool that asks for it.
func (w *world) openEdge(t *testing.T) *visitor {
	t.Helper()
	edge := install.Edge{Domain: "edge.test"}
	authority, err := edge.Certificate(t.Context(), w.client)
	if err != nil {
		t.Fatal(err)
	}
	const enforce = "pod-security.kubernetes.io/enforce"
	w.kubectl(t, "label", "namespace", install.Namespace, "--overwrite", enforce+"=restricted")
	t.Cleanup(func() {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.GatewaySecret}}
		err := w.client.Delete(context.Background(), secret)
		_, labelling := w.tools.Run(context.Background(), "", w.tools.Kubectl, "label", "namespace", install.Namespace, enforce+"-")
		if err := errors.Join(err, labelling); err != nil {
			t.Errorf("removing what the test has left: %v", err)
		}
	})
	w.chart.Edge = &edge
	w.install(t)
	s := w.begin(t)
	s.pool.Spec.Edge.Mode = poolv1.EdgeEnabled
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	s.awaitCondition(t, s.pool, poolv1.ConditionEdgePublished, metav1.ConditionTrue, poolv1.ReasonPublished)
	return newVisitor(t, s, edge, authority)
}

func (w *world) gateways(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(install.Namespace), gatewayLabels); err != nil {
		t.Fatalf("listing the gateway's pods: %v", err)
	}
	return pods.Items
}

func (v *visitor) gatewaysAreReady(t *testing.T) {
	pods := v.gateways(t)
	if len(pods) != 2 {
		t.Errorf("there are %d, want 2", len(pods))
	}
	for _, pod := range pods {
		answer := v.clientset.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
			Name(pod.Name + ":9090").SubResource("proxy").Suffix("readyz").Do(t.Context())
		if err := answer.Error(); err != nil {
			t.Errorf("asking %s whether it is ready: %v", pod.Name, err)
		}
	}
}

// gatewayReadsPoolsAlone compares what the gateway may do with what every account may.
func (v *visitor) gatewayReadsPoolsAlone(t *testing.T) {
	want := []authorizationv1.ResourceRule{{
		Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"poolfleet.dev"}, Resources: []string{"connectionpools"},
	}}
	for _, namespace := range []string{install.Namespace, v.namespace} {
		everyones := v.rulesFor(t, "default", namespace)
		got := slices.DeleteFunc(v.rulesFor(t, install.Gateway, namespace), func(rule authorizationv1.ResourceRule) bool {
			return slices.ContainsFunc(everyones, func(other authorizationv1.ResourceRule) bool { return cmp.Equal(rule, other) })
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("beyond every account's rights in %s (-want +got):\n%s", namespace, diff)
		}
	}
}

// rulesFor asks the API server what an account of the operator's namespace may do.
func (w *world) rulesFor(t *testing.T, account, namespace string) []authorizationv1.ResourceRule {
	t.Helper()
	config := rest.CopyConfig(w.config)
	config.Impersonate.UserName = "system:serviceaccount:" + install.Namespace + ":" + account
	as, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	review, err := as.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("asking what %s may do: %v", account, err)
	}
	return review.Status.ResourceRules
}

// answersHTTP waits: a pool is Ready before every node knows the way to its new Service.
func (v *visitor) answersHTTP(t *testing.T) {
	eventually(t, "the gateway answers", func() error {
		got, err := v.post(t.Context(), v.kept, v.url)
		if err == nil && (got.Status != http.StatusOK || cmp.Diff([]map[string]any{{"n": 42.0}}, got.Rows) != "") {
			err = fmt.Errorf("the answer is %+v", got)
		}
		return err
	})
}

func (v *visitor) refusesWrongPassword(t *testing.T) {
	at := v.url
	at.User = url.UserPassword(at.User.Username(), v.secretWord())
	got, err := v.post(t.Context(), v.kept, at)
	if err != nil || got.Status != http.StatusBadRequest || got.Code != "28P01" {
		t.Errorf("the answer is %+v, %v, want PostgreSQL's 28P01", got, err)
	}
}

func (v *visitor) answersWebSocket(t *testing.T) {
	at := v.url
	at.RawQuery = "sslmode=disable" // TLS is around the WebSocket.
	config, err := pgx.ParseConfig(at.String())
	if err != nil {
		t.Fatal(err)
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		//nolint:bodyclose // The library says that it need not be.
		socket, _, err := websocket.Dial(ctx, "wss://"+v.url.Host+"/v2", &websocket.DialOptions{HTTPClient: v.kept})
		if err != nil {
			return nil, err
		}
		return websocket.NetConn(context.Background(), socket, websocket.MessageBinary), nil
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	var sum int
	if err := conn.QueryRow(t.Context(), "select $1::int + 1", 41).Scan(&sum); err != nil || sum != 42 {
		t.Errorf("it reads %d, %v", sum, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Errorf("closing the connection: %v", err)
	}
}

// upgradesUnderLoad has the chart replace the gateway's pods while clients with kept
// and with new connections send requests.
func (v *visitor) upgradesUnderLoad(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	counts := make([]posted, 6)
	for i := range counts {
		visitor := v.kept
		if i%2 == 1 {
			visitor = v.fresh
		}
		group.Go(func() { counts[i] = v.keepPosting(ctx, visitor) })
	}
	before := v.gateways(t)
	v.chart.Set = []string{"edge.podAnnotations.upgrade=second"}
	v.install(t)
	eventually(t, "the gateway's former pods are gone", func() error {
		now := v.gateways(t)
		if len(now) != len(before) || slices.ContainsFunc(now, func(p corev1.Pod) bool { return p.Annotations["upgrade"] != "second" }) {
			return fmt.Errorf("there are %d pods, and not all are new", len(now))
		}
		return nil
	})
	stop()
	group.Wait()
	answered := 0
	for i, count := range counts {
		answered += count.answered
		if err := errors.Join(count.failures...); err != nil {
			t.Errorf("%d of the requests of client %d failed: %v", len(count.failures), i, err)
		}
	}
	t.Logf("%d requests were answered during the upgrade", answered)
	if answered < 100 {
		t.Error("they are too few to tell")
	}
}

func (v *visitor) turnsOff(t *testing.T) {
	v.chart.Edge, v.chart.Set = nil, nil
	v.install(t)
	eventually(t, "the gateway's Deployment is gone", func() error {
		return absent(t, v.world, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.Gateway}})
	})
	if left := v.kubectl(t, "get", "services,serviceaccounts,clusterroles,clusterrolebindings,poddisruptionbudgets", "--all-namespaces",
		"--selector", "app.kubernetes.io/component=edge,app.kubernetes.io/part-of=poolfleet", "--output", "name"); left != "" {
		t.Errorf("there is left %s", left)
	}
}
