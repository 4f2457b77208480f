// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func TestTheLedgerIsWrittenBeforeThePod(t *testing.T) {
	pool := serve(t, namespace(t), "order", server(t, 100))
	before := len(writes.all())
	pod := podOf(t, pool, "order-a")
	grantOf(t, pod, 92)
	ledger, patch := -1, -1
	for i, line := range writes.all()[before:] {
		switch {
		case strings.HasPrefix(line, "update status") && strings.Contains(line, "Upstream"):
			if patch < 0 {
				ledger = i
			}
		case strings.HasPrefix(line, "patch") && strings.Contains(line, "order-a") && patch < 0:
			patch = i
		}
	}
	if ledger < 0 || patch < 0 || ledger > patch {
		t.Errorf("ledger written as write %d, pod as write %d", ledger, patch)
	}
}

func TestPoolsOnOneServerShareItByWeight(t *testing.T) {
	host := server(t, 100)
	small := serve(t, namespace(t), "small", host)
	large := serve(t, namespace(t), "large", host, func(p *poolv1.ConnectionPool) {
		p.Spec.ServerConnections.Weight = 300
	})
	a, b := podOf(t, small, "small-a"), podOf(t, large, "large-a")
	grantOf(t, a, 23)
	grantOf(t, b, 69)
	u := upstreamFor(t, small, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Pools).To(gomega.HaveLen(2))
	})
	if large.Status.Upstream.Name != "" && large.Status.Upstream.Name != u.Name {
		t.Errorf("the pools are on %s and %s", u.Name, large.Status.Upstream.Name)
	}
}

func TestOneServerUnderTwoNamesIsOneUpstream(t *testing.T) {
	host := server(t, 100)
	alias := server(t, 100)
	servers.set(alias+":5432", answer{observation: observed(host, 100)})
	a, b := serve(t, namespace(t), "by-name", host), serve(t, namespace(t), "by-alias", alias)
	one := upstreamFor(t, a, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Endpoints).To(gomega.HaveLen(2))
	})
	two := upstreamFor(t, b, func(gomega.Gomega, *poolv1.Upstream) {})
	if one.UID != two.UID {
		t.Errorf("one server has two Upstreams, %s and %s", one.Name, two.Name)
	}
}

func TestAGrantIsNotGivenTwice(t *testing.T) {
	host := server(t, 50) // 50 - 3 - 3 = 44
	first := serve(t, namespace(t), "first", host)
	a := podOf(t, first, "first-a")
	grantOf(t, a, 44)
	pods.setStubborn(a, true)
	second := serve(t, namespace(t), "second", host)
	b := podOf(t, second, "second-a")

	// The first pod is told to shrink, but has not let go: nothing is there to give.
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(a), a)).To(gomega.Succeed())
		g.Expect(a.Annotations[poolv1.GrantAnnotation]).To(gomega.ContainSubstring(`"share":22`))
	})
	upstreamFor(t, second, func(g gomega.Gomega, u *poolv1.Upstream) {
		var held int32
		for _, e := range u.Status.Ledger {
			held += *e.Held
		}
		g.Expect(held).To(gomega.BeNumerically("<=", 44))
	})
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.Annotations[poolv1.GrantAnnotation], `"share":22`) {
		t.Fatal("connections were granted that another pod may still hold")
	}
	pods.setStubborn(a, false)
	grantOf(t, b, 22)
}

func TestACopiedPodIsGrantedNothing(t *testing.T) {
	pool := serve(t, namespace(t), "copied", server(t, 100))
	pod := podOf(t, pool, "copied-a")
	grantOf(t, pod, 92)
	copied := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "copied-debug", Labels: pod.Labels, Annotations: pod.Annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pooler", Image: "pooler:test"}}},
	}
	create(t, copied)
	signals.Upstream(t.Context(), upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {}).Name)
	u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Ledger).To(gomega.HaveLen(1))
	})
	if u.Status.Ledger[0].UID != string(pod.UID) {
		t.Error("the ledger holds the copy")
	}
}

func TestADeletedPoolFreesItsShareAndItsUpstream(t *testing.T) {
	host := server(t, 100)
	staying := serve(t, namespace(t), "staying", host)
	leaving := serve(t, namespace(t), "leaving", host)
	a, b := podOf(t, staying, "staying-a"), podOf(t, leaving, "leaving-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	if err := api.Delete(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	// While the pod is there, so are its connections.
	upstreamFor(t, staying, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Pools).To(gomega.HaveLen(1))
		g.Expect(u.Status.Ledger).To(gomega.HaveLen(2))
	})
	if err := api.Delete(t.Context(), b, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	grantOf(t, a, 92)
}

func TestAdministratorsWordIsObeyed(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "ruled", host)
	u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Capacity.Budget).To(gomega.HaveValue(gomega.Equal(int32(92))))
	})
	change(t, u, func() { u.Spec.MaxServerConnections = 30 })
	u = upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Capacity.Budget).To(gomega.HaveValue(gomega.Equal(int32(30))))
	})
	change(t, u, func() { u.Spec.AllowedNamespaces = []string{"elsewhere"} })
	says(t, pool, poolv1.ConditionBudgetGranted, metav1.ConditionFalse, poolv1.ReasonNamespaceNotAllowed)
}

func TestAnUpstreamWithEntriesOutlivesItsDeletion(t *testing.T) {
	pool := serve(t, namespace(t), "kept", server(t, 100))
	pod := podOf(t, pool, "kept-a")
	grantOf(t, pod, 92)
	u := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	if err := api.Delete(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	signals.Upstream(t.Context(), u.Name)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
		t.Fatalf("the ledger is gone while a pod holds connections: %v", err)
	}
	for _, o := range []client.Object{pool, pod} {
		if err := api.Delete(t.Context(), o, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func(g gomega.Gomega) {
		err := api.Get(t.Context(), client.ObjectKeyFromObject(u), &poolv1.Upstream{})
		g.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue(), fmt.Sprint(err))
	})
}

func TestAPoolThatMovesToAnotherServerLeavesItsPodsInTheOldLedger(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "mover", server(t, 100))
	old := podOf(t, pool, "mover-old")
	grantOf(t, old, 92)
	from := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	if err := api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mover-db"}}); err != nil {
		t.Fatal(err)
	}
	secretFor(t, ns, "mover-db", server(t, 50))
	to := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Name).NotTo(gomega.Equal(from.Name))
		g.Expect(u.Status.Pools).To(gomega.HaveLen(1))
	})
	if len(to.Status.Ledger) != 0 {
		t.Errorf("the new server's ledger has the old pod: %+v", to.Status.Ledger)
	}
	fresh := podOf(t, pool, "mover-new")
	grantOf(t, fresh, 44)
	grantOf(t, old, 92) // Its connections are at the old server still, and so is its entry.
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(from), from)).To(gomega.Succeed())
		g.Expect(from.Status.Ledger).To(gomega.HaveLen(1))
		g.Expect(from.Status.Pools).To(gomega.BeEmpty())
	})
	if err := api.Delete(t.Context(), old, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	hands.ahead.Add(int64(time.Hour))
	eventually(t, func(g gomega.Gomega) {
		err := api.Get(t.Context(), client.ObjectKeyFromObject(from), &poolv1.Upstream{})
		g.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue(), fmt.Sprint(err))
	})
}
