// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/controllers"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// ledgerWrite is a mistake in how the ledger is written; write is how it should be.
type ledgerWrite func(l *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error

func onLedger(mistake ledgerWrite) func(*leader, client.Client) client.Client {
	return func(l *leader, c client.Client) client.Client { return ledgerClient{c, l, mistake} }
}

type ledgerClient struct {
	client.Client
	l       *leader
	mistake ledgerWrite
}

func (c ledgerClient) Status() client.SubResourceWriter {
	return ledgerWriter{c.Client.Status(), c.l, c.mistake}
}

type ledgerWriter struct {
	client.SubResourceWriter
	l       *leader
	mistake ledgerWrite
}

func (w ledgerWriter) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return w.mistake(w.l, as[*poolv1.Upstream](o), func(u *poolv1.Upstream) error {
		return w.SubResourceWriter.Update(ctx, u, opts...)
	})
}

func overwrite(l *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error {
	now := l.w.upstream()
	want.ResourceVersion, want.UID = now.ResourceVersion, now.UID
	return write(want)
}

func retryOnConflict(l *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error {
	err := write(want)
	if apierrors.IsConflict(err) {
		return overwrite(l, want, write)
	}
	return err
}

func heldIsGranted(_ *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error {
	for i := range want.Status.Ledger {
		want.Status.Ledger[i].Held = new(*want.Status.Ledger[i].Granted)
	}
	return write(want)
}

func drainedIsFinal(l *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error {
	for i, e := range want.Status.Ledger {
		if said := l.heard[e.UID]; said.Draining && said.Cap == 0 && said.Gen == *e.Gen {
			want.Status.Ledger[i].Held = new(int32(0))
		}
	}
	return write(want)
}

// tellFirst patches the pods by a ledger that may yet be refused.
func tellFirst(l *leader, want *poolv1.Upstream, write func(*poolv1.Upstream) error) error {
	for _, e := range want.Status.Ledger {
		if p := l.w.byUID(e.UID); p != nil && !p.terminating() {
			grant := contract.Annotation{Grant: contract.Grant{UID: e.UID, Gen: *e.Gen, Share: *e.Granted, Config: e.Config}, Held: *e.Held}
			p.change(func(o *corev1.Pod) { o.Annotations[poolv1.GrantAnnotation] = grant.Encode() })
		}
	}
	return write(want)
}

// podsClient shows a leader other pods than there are.
type podsClient struct {
	client.Client
	l     *leader
	alter func(*leader, []corev1.Pod) []corev1.Pod
}

func (c podsClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := c.Client.List(ctx, list, opts...)
	if pods, ok := list.(*corev1.PodList); ok && err == nil {
		pods.Items = c.alter(c.l, pods.Items)
	}
	return err
}

func forgetTerminating(l *leader, c client.Client) client.Client {
	return podsClient{c, l, func(_ *leader, pods []corev1.Pod) (left []corev1.Pod) {
		for _, p := range pods {
			if p.DeletionTimestamp.IsZero() {
				left = append(left, p)
			}
		}
		return left
	}}
}

// liveTerminating says of a terminating pod that it is not there.
func liveTerminating(_ *leader, live client.Reader) client.Reader { return withoutTerminating{live} }

type withoutTerminating struct{ client.Reader }

func (r withoutTerminating) Get(ctx context.Context, key types.NamespacedName, o client.Object, opts ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, o, opts...)
	if pod, ok := o.(*corev1.Pod); ok && err == nil && !pod.DeletionTimestamp.IsZero() {
		return apierrors.NewNotFound(resource(podsKind), key.Name)
	}
	return err
}

// byName takes any pod for the one of that name in the ledger.
func byName(l *leader, live client.Reader) client.Reader { return namedReader{live, l} }

type namedReader struct {
	client.Reader
	l *leader
}

func (r namedReader) Get(ctx context.Context, key types.NamespacedName, o client.Object, opts ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, o, opts...)
	if pod, ok := o.(*corev1.Pod); ok && err == nil {
		for _, e := range r.l.upstreamSeen().Status.Ledger {
			if e.Pod == pod.Name {
				pod.UID = types.UID(e.UID)
			}
		}
	}
	return err
}

// upstreamSeen is the Upstream as this leader read it last.
func (l *leader) upstreamSeen() *poolv1.Upstream {
	if u, ok := l.listed[upstreams][types.NamespacedName{Name: upstreamName}].(*poolv1.Upstream); ok {
		return u
	}
	return &poolv1.Upstream{}
}

// readyOnly tells pods nothing before they are ready, which they are not before they
// are told.
func readyOnly(l *leader, c client.Client) client.Client { return patchClient{c, l} }

type patchClient struct {
	client.Client
	l *leader
}

func (c patchClient) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if p := c.l.w.byUID(string(o.GetUID())); p != nil && !p.ready() {
		return nil
	}
	return c.Client.Patch(ctx, o, patch, opts...)
}

// withoutHeld writes grants as if only poolers read them.
func withoutHeld(_ *leader, c client.Client) client.Client { return forgetfulClient{c} }

type forgetfulClient struct{ client.Client }

var heldInPatch = regexp.MustCompile(`,\\"held\\":\d+`)

func (c forgetfulClient) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	return c.Client.Patch(ctx, o, client.RawPatch(patch.Type(), heldInPatch.ReplaceAll(data, nil)), opts...)
}

// hearsay is a mistake in how a pod's answer is taken, beside its entry.
type hearsay func(answer contract.Status, e poolv1.LedgerEntry) contract.Status

func onAnswer(mistake hearsay) func(*leader, controllers.StatusAsker) controllers.StatusAsker {
	return func(l *leader, next controllers.StatusAsker) controllers.StatusAsker {
		return mistakenAsker{l, next, mistake}
	}
}

type mistakenAsker struct {
	l       *leader
	next    controllers.StatusAsker
	mistake hearsay
}

func (a mistakenAsker) Ask(ctx context.Context, ip string, key []byte) (contract.Status, error) {
	answer, err := a.next.Ask(ctx, ip, key)
	if err != nil {
		return answer, err
	}
	for _, e := range a.l.upstreamSeen().Status.Ledger {
		if pod := a.l.podSeen(e); pod != nil && pod.Status.PodIP == ip {
			return a.mistake(answer, e), nil
		}
	}
	return answer, nil
}

// podSeen is the pod of an entry as this leader saw it last.
func (l *leader) podSeen(e poolv1.LedgerEntry) *corev1.Pod {
	pod, _ := l.listed[podsKind][types.NamespacedName{Namespace: e.Namespace, Name: e.Pod}].(*corev1.Pod)
	if pod == nil || string(pod.UID) != e.UID {
		return nil
	}
	return pod
}

func anyNumber(answer contract.Status, e poolv1.LedgerEntry) contract.Status {
	if answer.UID == e.UID {
		answer.Gen = *e.Gen
	}
	return answer
}

// asTold believes that a pod has done what it was told.
func asTold(answer contract.Status, e poolv1.LedgerEntry) contract.Status {
	if answer.UID == e.UID {
		answer.Gen, answer.Cap, answer.Current = *e.Gen, min(answer.Cap, *e.Granted), min(answer.Current, *e.Granted)
	}
	return answer
}

func whoeverAnswers(answer contract.Status, e poolv1.LedgerEntry) contract.Status {
	answer.UID, answer.Gen = e.UID, *e.Gen
	return answer
}
