// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
)

// edgeDomain is what the gateway of this suite would serve pools under.
const edgeDomain = "edge.example.com"

// atEdge has the gateway serve a pool, under a name where there is one.
func atEdge(name string) func(*poolv1.ConnectionPool) {
	return func(p *poolv1.ConnectionPool) {
		p.Spec.Edge = poolv1.PoolEdge{Mode: poolv1.EdgeEnabled, Name: name}
	}
}

func published(t *testing.T, pool *poolv1.ConnectionPool) {
	t.Helper()
	says(t, pool, poolv1.ConditionEdgePublished, metav1.ConditionTrue, poolv1.ReasonPublished)
}

// taken waits until a pool is told that another has its name.
func taken(t *testing.T, pool, by *poolv1.ConnectionPool) {
	t.Helper()
	c := says(t, pool, poolv1.ConditionEdgePublished, metav1.ConditionFalse, poolv1.ReasonNameTaken)
	if !strings.Contains(c.Message, by.Namespace+"/"+by.Name) {
		t.Errorf("it does not say who has the name: %s", c.Message)
	}
	if urls := pool.Status.URLs; pool.Status.Edge != (poolv1.PublishedEdge{}) || urls.Edge != "" || urls.Accelerate != "" {
		t.Errorf("the status goes on showing %+v and %+v", pool.Status.Edge, urls)
	}
}

func TestAPoolThatAsksForTheGatewayIsPublishedThere(t *testing.T) {
	ns := namespace(t)
	pool := serve(t, ns, "shop", server(t, 100), atEdge(""))
	published(t, pool)
	var secret corev1.Secret
	secretHas := func(g gomega.Gomega, name string) gomega.Assertion {
		g.Expect(api.Get(t.Context(), key(pool, "-pool"), &secret)).To(gomega.Succeed())
		return g.Expect(string(secret.Data[name]))
	}
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
		host := "shop-" + ns + "." + edgeDomain
		g.Expect(pool.Status.Edge).To(gomega.Equal(poolv1.PublishedEdge{Name: "shop-" + ns, Host: host}))
		g.Expect(pool.Status.URLs.Edge).To(gomega.MatchRegexp(`^postgresql://[^:@]+@` + host + `/shop\?sslmode=require$`))
		secretHas(g, "EDGE_URL").To(gomega.MatchRegexp(`^postgresql://[^:@]+:[^:@]+@` + host + `/shop\?sslmode=require$`))
		g.Expect(pool.Status.URLs.Accelerate).To(gomega.Equal("prisma://" + host + "/"))
		key := apikey.Key{
			Namespace: ns, Pool: "shop", Database: "shop",
			User: string(secret.Data["username"]), Password: string(secret.Data["password"]),
		}
		secretHas(g, "ACCELERATE_URL").To(gomega.Equal("prisma://" + host + "/?api_key=" + key.String()))
		secretHas(g, "PRISMA_POSTGRES_URL").To(gomega.Equal("prisma+postgres://" + host + "/?api_key=" + key.String()))
	})
	hasEvent(t, pool, poolv1.ReasonPublished, "shop-"+ns+"."+edgeDomain)

	t.Run("and no longer once it does not", func(t *testing.T) {
		change(t, pool, func() { pool.Spec.Edge = poolv1.PoolEdge{} })
		eventually(t, func(g gomega.Gomega) {
			g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)).To(gomega.Succeed())
			g.Expect(meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionEdgePublished)).To(gomega.BeNil())
			g.Expect(pool.Status.Edge).To(gomega.BeZero())
			g.Expect(pool.Status.URLs.Edge).To(gomega.BeEmpty())
			g.Expect(pool.Status.URLs.Accelerate).To(gomega.BeEmpty())
			secretHas(g, "EDGE_URL").To(gomega.BeEmpty())
			secretHas(g, "ACCELERATE_URL").To(gomega.BeEmpty())
		})
	})
}

func TestTheOlderPoolHasTheName(t *testing.T) {
	ns := namespace(t)
	name := "shop-of-" + ns
	older := serve(t, ns, "a", server(t, 100), atEdge(name))
	published(t, older)
	younger := serve(t, ns, "b", server(t, 100), atEdge(name))
	taken(t, younger, older)
	hasEvent(t, younger, poolv1.ReasonNameTaken, ns+"/a")

	t.Run("also where it claims it last", func(t *testing.T) {
		change(t, older, func() { older.Spec.Edge = poolv1.PoolEdge{} })
		published(t, younger)
		change(t, older, func() { atEdge(name)(older) })
		published(t, older)
		taken(t, younger, older)
	})
	t.Run("until it takes another", func(t *testing.T) {
		change(t, older, func() { older.Spec.Edge.Name = "" })
		published(t, younger)
		change(t, older, func() { older.Spec.Edge.Name = name })
		taken(t, younger, older)
	})
	t.Run("until it is gone", func(t *testing.T) {
		if err := api.Delete(t.Context(), older); err != nil {
			t.Fatal(err)
		}
		published(t, younger)
	})
}

func TestAPoolWhoseServerIsAwayHasItsNameAllTheSame(t *testing.T) {
	ns := namespace(t)
	name := "away-of-" + ns
	older := aPool(ns, "a", atEdge(name)) // Without its Secret.
	create(t, older)
	published(t, older)
	younger := serve(t, ns, "b", server(t, 100), atEdge(name))
	taken(t, younger, older)
}

func TestANameThatIsNoLabelIsSaid(t *testing.T) {
	ns := namespace(t) + "-" + strings.Repeat("x", 20)
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	pool := serve(t, ns, strings.Repeat("a", 52), server(t, 100), atEdge(""))
	c := says(t, pool, poolv1.ConditionEdgePublished, metav1.ConditionFalse, poolv1.ReasonNameInvalid)
	if !strings.Contains(c.Message, "set spec.edge.name") {
		t.Errorf("it does not say what to do: %s", c.Message)
	}
	change(t, pool, func() { pool.Spec.Edge.Name = "short-of-" + ns[:12] })
	published(t, pool)
}

func TestASettledPoolAtTheGatewayIsLeftAlone(t *testing.T) {
	pool := serve(t, namespace(t), "calm", server(t, 100), atEdge(""), func(p *poolv1.ConnectionPool) {
		p.Spec.Service.ExternalHostname = "db.example.com"
	})
	grantOf(t, podOf(t, pool, "calm-a"), 92)
	says(t, pool, poolv1.ConditionConfigApplied, metav1.ConditionTrue, poolv1.ReasonApplied)
	published(t, pool)
	quietFor(t)
	before := writes.all()
	for range 20 {
		signals.Pool(t.Context(), client.ObjectKeyFromObject(pool))
		time.Sleep(20 * time.Millisecond)
	}
	quietFor(t)
	if diff := cmp.Diff(before, writes.all()); diff != "" {
		t.Errorf("reconciling a settled pool wrote:\n%s", diff)
	}
}
