// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/publish"
)

// stage is a cluster that a test plays, and what a command says of it.
type stage struct {
	session  *session
	out, err bytes.Buffer
}

// aStage has objects in namespace demo. The hooks stand before its API server.
func aStage(t *testing.T, hooks interceptor.Funcs, objects ...client.Object) *stage {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&poolv1.ConnectionPool{}).WithInterceptorFuncs(hooks).Build()
	return &stage{session: &session{client: cluster, namespace: "demo"}}
}

// run runs a command line and returns its exit code.
func (s *stage) run(t *testing.T, args ...string) int {
	t.Helper()
	s.out.Reset()
	s.err.Reset()
	env := newEnvironment(Streams{In: strings.NewReader(""), Out: &s.out, ErrOut: &s.err})
	env.connect = func() (*session, error) { return s.session, nil }
	root := newRoot(env)
	root.SetArgs(args)
	return env.execute(t.Context(), root)
}

// exits checks the exit code, and that words are among what stands beside the answer.
func (s *stage) exits(t *testing.T, code int, words string, args ...string) {
	t.Helper()
	got := s.run(t, args...)
	said := strings.Join(strings.Fields(s.err.String()), " ") // Lines are broken where the terminal ends.
	if got != code || !strings.Contains(said, words) {
		t.Errorf("%s: exit code %d, want %d, with %q in:\n%s", strings.Join(args, " "), got, code, words, s.err.String())
	}
}

const stagePassword = "p&ss:w\\rd$1"

// shop is a pool that serves, and what it publishes.
func shop(changes ...func(*poolv1.ConnectionPool)) (*poolv1.ConnectionPool, *corev1.Secret) {
	pool := &poolv1.ConnectionPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", Generation: 1},
		Spec: poolv1.ConnectionPoolSpec{State: poolv1.PoolRunning, Upstream: poolv1.UpstreamSource{
			SecretRef: poolv1.UpstreamSecretReference{Name: "shop-db"},
		}},
		Status: poolv1.ConnectionPoolStatus{
			Binding:     poolv1.SecretBinding{Name: "shop-pool"},
			TLS:         poolv1.ServedCertificate{DNSNames: []string{"shop-pool.demo.svc"}},
			Credentials: []poolv1.ClientCredential{{Username: "app"}},
		},
	}
	ready(pool, metav1.ConditionTrue, poolv1.ReasonAvailable, "Clients can connect")
	for _, change := range changes {
		change(pool)
	}
	return pool, publishedBy(publish.Inputs{CA: "the authority"})
}

func publishedBy(in publish.Inputs) *corev1.Secret {
	in.Namespace, in.Pool, in.Host, in.Port, in.Database = "demo", "shop", "shop-pool.demo.svc", 5432, "shop"
	in.Login = publish.Login{Username: "app", Password: stagePassword}
	in.TLSMode = "prefer"
	in.Direct = "postgresql://owner:direct%20word@db.example.com:6543/shop?sslmode=require&options=-c%20jit%3Doff"
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-pool"}, Data: publish.Build(in).Data}
}

// ready has the pool say this of its newest spec.
func ready(pool *poolv1.ConnectionPool, status metav1.ConditionStatus, reason, message string) {
	pool.Status.Conditions = []metav1.Condition{{
		Type: poolv1.ConditionReady, Status: status, Reason: reason, Message: message, ObservedGeneration: pool.Generation,
	}}
}
