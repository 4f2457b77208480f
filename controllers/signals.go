// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// Signals let one reconciler wake the other about what is in no object: a look at
// a server, a pod's answer.
type Signals struct {
	pools     chan event.GenericEvent
	upstreams chan event.GenericEvent
}

// signalBuffer is how many wake-ups wait for a reconciler that starts.
const signalBuffer = 1024

// NewSignals returns Signals.
func NewSignals() *Signals {
	return &Signals{
		pools:     make(chan event.GenericEvent, signalBuffer),
		upstreams: make(chan event.GenericEvent, signalBuffer),
	}
}

// Pool wakes the reconciler of a pool.
func (s *Signals) Pool(ctx context.Context, key types.NamespacedName) {
	send(ctx, s.pools, event.GenericEvent{Object: &poolv1.ConnectionPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
	}})
}

// Upstream wakes the reconciler of an Upstream; an empty name wakes none.
func (s *Signals) Upstream(ctx context.Context, name string) {
	if name == "" {
		return
	}
	send(ctx, s.upstreams, event.GenericEvent{Object: &poolv1.Upstream{ObjectMeta: metav1.ObjectMeta{Name: name}}})
}

func send(ctx context.Context, to chan<- event.GenericEvent, e event.GenericEvent) {
	select {
	case to <- e:
	case <-ctx.Done():
	}
}
