// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// peersOf waits until a pod was told of these others, and returns its own number.
func peersOf(t *testing.T, pod *corev1.Pod, others ...*corev1.Pod) int32 {
	t.Helper()
	var peers contract.Peers
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)).To(gomega.Succeed())
		var err error
		peers, err = contract.DecodePeers(pod.Annotations[poolv1.PeersAnnotation])
		g.Expect(err).NotTo(gomega.HaveOccurred())
		g.Expect(peers.UID).To(gomega.Equal(string(pod.UID)))
		var addresses []string
		for _, other := range others {
			addresses = append(addresses, other.Status.PodIP)
		}
		g.Expect(peers.Others).To(gomega.HaveLen(len(addresses)))
		for _, address := range addresses {
			g.Expect(peers.Others).To(gomega.ContainElement(address))
		}
		g.Expect(peers.Others).NotTo(gomega.HaveKey(peers.ID))
	})
	return peers.ID
}

func TestPodsOfAPoolKnowEachOtherUntilTheyAreGone(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	pool := serve(t, ns, "known", host)
	stranger := podOf(t, serve(t, ns, "stranger", host), "stranger-a")
	peersOf(t, stranger)
	a := podOf(t, pool, "known-a")
	id := peersOf(t, a)
	if id < 1 || id > 16383 {
		t.Errorf("a pod of one is number %d", id)
	}

	b := podOf(t, pool, "known-b")
	if other := peersOf(t, b, a); other == id {
		t.Errorf("two pods are number %d", id)
	}
	if now := peersOf(t, a, b); now != id {
		t.Errorf("a pod was number %d, and is %d", id, now)
	}
	peersOf(t, stranger)

	// On its way out it has clients still, and reads no annotation any more.
	change(t, b, func() { b.Finalizers = []string{"example.com/stays"} })
	if err := api.Delete(t.Context(), b, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	c := podOf(t, pool, "known-c")
	peersOf(t, c, a, b)
	peersOf(t, a, b, c)
	change(t, b, func() { b.Finalizers = nil })
	peersOf(t, a, c)
	peersOf(t, c, a)
}

func TestALedgerThatIsLostKeepsThePodsPeerNumbers(t *testing.T) {
	pool := serve(t, namespace(t), "lost", server(t, 100))
	a := podOf(t, pool, "lost-a")
	grantOf(t, a, 92)
	b := podOf(t, pool, "lost-b")
	before := map[string]int32{"lost-a": peersOf(t, a, b), "lost-b": peersOf(t, b, a)}
	u := upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.Status.Ledger).To(gomega.HaveLen(2)) })
	eventually(t, func(g gomega.Gomega) {
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(u), u)).To(gomega.Succeed())
		u.Status.Ledger = nil
		g.Expect(api.Status().Update(t.Context(), u)).To(gomega.Succeed())
	})
	signals.Upstream(t.Context(), u.Name)
	u = upstreamFor(t, pool, func(g gomega.Gomega, u *poolv1.Upstream) { g.Expect(u.Status.Ledger).To(gomega.HaveLen(2)) })
	for _, e := range u.Status.Ledger {
		if e.Peer != before[e.Pod] {
			t.Errorf("pod %s was number %d, and is %d in the new ledger", e.Pod, before[e.Pod], e.Peer)
		}
	}
}

func TestGrantsDoNotWaitForPodsThatCanNotBeToldOfTheirPeers(t *testing.T) {
	pool := serve(t, namespace(t), "mute", server(t, 100))
	a := podOf(t, pool, "mute-a")
	peersOf(t, a)
	callOff := writes.refuse(pool.Namespace, "poolfleet.dev~1peers")
	defer callOff()
	b := podOf(t, pool, "mute-b")
	grantOf(t, a, 46)
	grantOf(t, b, 46)
	if told, ok := b.Annotations[poolv1.PeersAnnotation]; ok {
		t.Fatalf("a write that was refused arrived: %s", told)
	}
	callOff()
	peersOf(t, b, a)
	peersOf(t, a, b)
}
