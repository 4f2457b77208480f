// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// saysOfServer waits until a condition of the pool's Upstream has a status and a reason.
func saysOfServer(t *testing.T, pool *poolv1.ConnectionPool, kind string, status metav1.ConditionStatus, reason string) *poolv1.Upstream {
	t.Helper()
	return upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		c := meta.FindStatusCondition(u.Status.Conditions, kind)
		g.Expect(c).NotTo(gomega.BeNil())
		g.Expect([]string{string(c.Status), c.Reason}).To(gomega.Equal([]string{string(status), reason}), c.Message)
	})
}

// knowNeeds lets so much time pass that what the pods of a server have use for is known.
func knowNeeds(t *testing.T, u *poolv1.Upstream) {
	t.Helper()
	for range 5 {
		hands.ahead.Add(int64(budget.DemandMemory / 4))
		signals.Upstream(t.Context(), u.Name)
		time.Sleep(200 * time.Millisecond)
	}
}

// told waits for an event with a reason on an object, and returns its words.
func told(t *testing.T, about client.Object, reason string) string {
	t.Helper()
	var note string
	eventually(t, func(g gomega.Gomega) {
		var list eventsv1.EventList
		g.Expect(api.List(t.Context(), &list)).To(gomega.Succeed())
		note = ""
		for _, e := range list.Items {
			if e.Reason == reason && e.Regarding.UID == about.GetUID() {
				note = e.Note
			}
		}
		g.Expect(note).NotTo(gomega.BeEmpty(), "no event %s on %s", reason, about.GetName())
	})
	return note
}

// tells waits for a line of the account that has all these words.
func tells(t *testing.T, pool *poolv1.ConnectionPool, words ...string) *poolv1.Upstream {
	t.Helper()
	return upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		found := false
		for _, line := range u.Status.Account {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			found = found || all
		}
		g.Expect(found).To(gomega.BeTrue(), "no line with %q in:\n%s", words, strings.Join(u.Status.Account, "\n"))
	})
}

func TestAnAdministratorsWordThatLeavesNothingParksPoolsUntilItIsTakenBack(t *testing.T) {
	pool := serve(t, namespace(t), "nothing", server(t, 100))
	pod := podOf(t, pool, "nothing-a")
	grantOf(t, pod, 92)
	u := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	change(t, u, func() { u.Spec.DirectConnections = new(intstr.FromInt32(100)) })
	grantOf(t, pod, 0)
	u = saysOfServer(t, pool, poolv1.ConditionWithinBudget, metav1.ConditionFalse, poolv1.ReasonNoBudget)
	if c := meta.FindStatusCondition(u.Status.Conditions, poolv1.ConditionWithinBudget); !strings.Contains(c.Message, "lower spec.directConnections") {
		t.Errorf("the status does not say what to do: %s", c.Message)
	}
	says(t, pool, poolv1.ConditionBudgetGranted, metav1.ConditionFalse, poolv1.ReasonInsufficientBudget)
	tells(t, pool, "= 0 for pools")
	if note := told(t, u, poolv1.EventBudgetShrank); note != "Pools may take 0 connections together, before it was 92: what is left to others is 100 and was 5" {
		t.Errorf("event: %s", note)
	}
	change(t, u, func() { u.Spec = poolv1.UpstreamSpec{MaxServerConnections: 40} })
	grantOf(t, pod, 40)
	told(t, u, poolv1.EventBudgetGrew)
	tells(t, pool, "-52 above the ceiling of 40")
}

func TestPoolsOfANamespaceAreBoundAndWeighedTogether(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	bound := serve(t, ns, "bound", host)
	free := serve(t, namespace(t), "free", host)
	a, b := podOf(t, bound, "bound-a"), podOf(t, free, "free-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	u := upstreamFor(t, bound, func(gomega.Gomega, *poolv1.Upstream) {})
	knowNeeds(t, u)
	change(t, u, func() { u.Spec.Namespaces = []poolv1.NamespaceClaim{{Name: ns, Maximum: 12}} })
	grantOf(t, a, 12)
	grantOf(t, b, 80)
	tells(t, bound, ns+"/bound: 12 under the maximum 12 of its namespace")
	change(t, u, func() { u.Spec.Namespaces = []poolv1.NamespaceClaim{{Name: ns, Weight: 300}} })
	grantOf(t, a, 69)
	grantOf(t, b, 23)
	tells(t, bound, ns+"/bound: 69 by weight 100 of 100 in its namespace, which weighs 300")
}

func TestPodsOfANamespaceThatIsNoLongerLetInKeepWhatTheyHaveUntilTheyEnd(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	out := serve(t, ns, "out", host)
	in := serve(t, namespace(t), "in", host)
	a, b := podOf(t, out, "out-a"), podOf(t, in, "in-a")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	u := upstreamFor(t, in, func(gomega.Gomega, *poolv1.Upstream) {})
	change(t, u, func() { u.Spec.AllowedNamespaces = []string{in.Namespace} })
	says(t, out, poolv1.ConditionBudgetGranted, metav1.ConditionFalse, poolv1.ReasonNamespaceNotAllowed)
	tells(t, in, ns+"/out: its namespace is not in spec.allowedNamespaces; its pods hold 46 until they end")
	newcomer := podOf(t, out, "out-b")
	quietFor(t)
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(newcomer), newcomer); err != nil {
		t.Fatal(err)
	}
	if grant := newcomer.Annotations[poolv1.GrantAnnotation]; grant != "" {
		t.Errorf("a new pod of the namespace was granted %s", grant)
	}
	if err := api.Delete(t.Context(), a, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	grantOf(t, b, 92)
}

func TestANewPoolWhoseMinimumDoesNotFitWaitsAndNobodyIsCut(t *testing.T) {
	host := server(t, 100)
	minimum := func(n int32) func(*poolv1.ConnectionPool) {
		return func(p *poolv1.ConnectionPool) { p.Spec.ServerConnections.Minimum = n }
	}
	running := serve(t, namespace(t), "running", host, minimum(60))
	a := podOf(t, running, "running-a")
	grantOf(t, a, 92)
	late := serve(t, namespace(t), "late", host, minimum(40))
	c := says(t, late, poolv1.ConditionBudgetGranted, metav1.ConditionFalse, poolv1.ReasonInsufficientBudget)
	if !strings.Contains(c.Message, "minimum of 40 does not fit") {
		t.Errorf("message: %s", c.Message)
	}
	tells(t, late, late.Namespace+"/late: 0 as its minimum of 40 does not fit beside those of the pools that run")
	quietFor(t)
	grantOf(t, a, 92)
	change(t, late, func() { late.Spec.ServerConnections.Minimum = 30 })
	b := podOf(t, late, "late-a")
	grantOf(t, a, 60)
	grantOf(t, b, 32)
}

func TestALedgerChangedByHandIsMended(t *testing.T) {
	pool := serve(t, namespace(t), "edited", server(t, 100))
	pod := podOf(t, pool, "edited-a")
	grantOf(t, pod, 92)
	edits := map[string]func(*poolv1.UpstreamStatus){
		"entries deleted": func(s *poolv1.UpstreamStatus) { s.Ledger = nil },
		"status deleted":  func(s *poolv1.UpstreamStatus) { *s = poolv1.UpstreamStatus{} },
		"less held":       func(s *poolv1.UpstreamStatus) { s.Ledger[0].Held = new(int32(5)) },
		"less granted":    func(s *poolv1.UpstreamStatus) { s.Ledger[0].Granted, s.Ledger[0].Held = new(int32(5)), new(int32(5)) },
		"more granted": func(s *poolv1.UpstreamStatus) {
			s.Ledger[0].Granted, s.Ledger[0].Held = new(int32(900)), new(int32(900))
		},
		"an older number":      func(s *poolv1.UpstreamStatus) { s.Ledger[0].Gen, s.LedgerGeneration = new(int64(0)), new(int64(0)) },
		"an entry of a ghost":  func(s *poolv1.UpstreamStatus) { s.Ledger = append(s.Ledger, ghost(s.Ledger[0])) },
		"another pool's entry": func(s *poolv1.UpstreamStatus) { s.Ledger[0].Pool = "nobody" },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.Status.Ledger).To(gomega.HaveLen(1)) })
			eventually(t, func(g gomega.Gomega) {
				g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
				g.Expect(u.Status.Ledger).To(gomega.HaveLen(1))
				edit(&u.Status)
				g.Expect(api.Status().Update(t.Context(), u)).To(gomega.Succeed())
			})
			signals.Upstream(t.Context(), u.Name)
			healed(t, pool, pod)
		})
	}
}

func ghost(e poolv1.LedgerEntry) poolv1.LedgerEntry {
	e.UID, e.Pod = "ghost", "ghost"
	return e
}

// healed waits until ledger, annotation and the pod agree again on all of the budget.
func healed(t *testing.T, pool *poolv1.ConnectionPool, pod *corev1.Pod) {
	t.Helper()
	upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.Status.Ledger).To(gomega.HaveLen(1))
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)).To(gomega.Succeed())
		grant, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
		g.Expect(err).NotTo(gomega.HaveOccurred())
		e := u.Status.Ledger[0]
		g.Expect([]any{e.Pool, *e.Gen, *e.Granted, *e.Held}).To(gomega.Equal([]any{pool.Name, grant.Gen, grant.Share, int32(92)}))
		g.Expect(grant.Share).To(gomega.Equal(int32(92)))
	})
}

func TestAnAnnotationChangedByHandIsWrittenAnewUnderANewNumber(t *testing.T) {
	pool := serve(t, namespace(t), "scribbled", server(t, 100))
	pod := podOf(t, pool, "scribbled-a")
	grantOf(t, pod, 92)
	for name, edit := range map[string]func(*contract.Grant){
		"more":                     func(g *contract.Grant) { g.Share = 500 },
		"less":                     func(g *contract.Grant) { g.Share = 1 },
		"more, and newer":          func(g *contract.Grant) { g.Share, g.Gen = 500, g.Gen+5 },
		"parked":                   func(g *contract.Grant) { g.Share = 0 },
		"no configuration at hand": func(g *contract.Grant) { g.Config = "gone" },
	} {
		t.Run(name, func(t *testing.T) {
			grantOf(t, pod, 92)
			grant, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
			if err != nil {
				t.Fatal(err)
			}
			before := grant.Gen
			edit(&grant)
			change(t, pod, func() { pod.Annotations[poolv1.GrantAnnotation] = grant.Encode() })
			healed(t, pool, pod)
			after, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
			if err != nil || name != "no configuration at hand" && after.Gen <= before {
				t.Errorf("the grant before was %d, now %d (%v): its pod may have taken up what was scribbled", before, after.Gen, err)
			}
		})
	}
}

func TestAnUpstreamTakenAwayByForceIsRebuiltFromItsPodsBeforeAnythingIsRaised(t *testing.T) {
	host := server(t, 100)
	pool := serve(t, namespace(t), "robbed", host)
	pod := podOf(t, pool, "robbed-a")
	grantOf(t, pod, 92)
	u := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	pods.setStubborn(pod, true) // It holds all of it, and does as it is told no longer.
	old := u.UID
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
		u.Finalizers = nil
		g.Expect(api.Update(t.Context(), u)).To(gomega.Succeed())
	})
	if err := api.Delete(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	late := serve(t, namespace(t), "late-comer", host)
	late2 := podOf(t, late, "late-comer-a")
	u = upstreamFor(t, late, func(g gomega.Gomega, u *poolv1.Upstream) {
		g.Expect(u.UID).NotTo(gomega.Equal(old))
		g.Expect(u.Status.Ledger).NotTo(gomega.BeEmpty())
	})
	for _, e := range u.Status.Ledger {
		if e.UID == string(pod.UID) && *e.Held != 92 {
			t.Errorf("the pod that holds 92 has an entry of %d", *e.Held)
		}
	}
	told(t, u, poolv1.EventLedgerRebuilt)
	quietFor(t)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(late2), late2); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(late2.Annotations[poolv1.GrantAnnotation], `"share":46`) {
		t.Fatal("connections were granted that the pod of the lost ledger still holds")
	}
	pods.setStubborn(pod, false)
	grantOf(t, late2, 46)
	grantOf(t, pod, 46)
}

func TestALostLedgerKnowsWhatASilentPodHoldsByAnEarlierGrant(t *testing.T) {
	host := server(t, 100)
	first := serve(t, namespace(t), "holding", host)
	pod := podOf(t, first, "holding-a")
	grantOf(t, pod, 92)
	pods.setStubborn(pod, true)
	second := serve(t, namespace(t), "hoping", host)
	other := podOf(t, second, "hoping-a")
	grantOf(t, pod, 46) // It was told, and has not said that it has let go.
	u := upstreamFor(t, first, func(gomega.Gomega, *poolv1.Upstream) {})
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
		u.Status = poolv1.UpstreamStatus{}
		g.Expect(api.Status().Update(t.Context(), u)).To(gomega.Succeed())
	})
	signals.Upstream(t.Context(), u.Name)
	quietFor(t)
	for _, e := range upstreamFor(t, first, func(gomega.Gomega, *poolv1.Upstream) {}).Status.Ledger {
		if e.UID == string(pod.UID) && *e.Held != 92 || e.UID == string(other.UID) && *e.Held != 0 {
			t.Errorf("the entry of %s says that it holds %d, and %s may still hold 92 of 92", e.Pod, *e.Held, pod.Name)
		}
	}
	pods.setStubborn(pod, false)
	grantOf(t, other, 46)
}

func TestAnUpstreamDeletedWhileItIsInUseHandsItsConnectionsOver(t *testing.T) {
	pool := serve(t, namespace(t), "deleted", server(t, 100))
	pod := podOf(t, pool, "deleted-a")
	grantOf(t, pod, 92)
	old := upstreamFor(t, pool, func(gomega.Gomega, *poolv1.Upstream) {})
	if err := api.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	next := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.UID).NotTo(gomega.Equal(old.UID)) })
	fresh := podOf(t, pool, "deleted-b") // As the rollout to the new Upstream makes it.
	eventually(t, func(g gomega.Gomega) {
		held := map[string]int32{} // By pod: one that is taken over may stand in both for a moment.
		var sum int32
		for _, u := range []*poolv1.Upstream{old, next} {
			g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
			for _, e := range u.Status.Ledger {
				sum += max(*e.Held, held[e.UID]) - held[e.UID]
				held[e.UID] = max(*e.Held, held[e.UID])
			}
		}
		if sum > 92 {
			t.Fatalf("pods may hold %d of 92 under two names of one server: %+v and %+v", sum, old.Status.Ledger, next.Status.Ledger)
		}
		g.Expect(next.Status.Ledger).To(gomega.HaveLen(1))
		g.Expect(*next.Status.Ledger[0].Granted).To(gomega.BeNumerically(">", 0))
	})
	if err := api.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	grantOf(t, fresh, 92)
	eventually(t, func(g gomega.Gomega) {
		err := api.Get(t.Context(), client.ObjectKeyFromObject(old), &poolv1.Upstream{})
		g.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue(), "%v", err)
	})
}
