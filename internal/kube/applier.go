// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package kube is the one door through which a pool's objects are written. It
// knows server-side apply, ownership and quiet; it does not know what the objects
// are for, and nothing else in the operator may write owned objects.
package kube

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Applier writes the objects that an owner consists of. It is safe for concurrent
// use, but for two calls for one owner at a time.
type Applier struct {
	client client.Client
	live   client.Reader

	mu sync.Mutex
	// applied is guarded by mu.
	applied map[objectKey]record
}

// NewApplier returns an Applier that writes through c. c reads from
// the cache; live reads from the API server itself, as a manager's GetAPIReader does.
func NewApplier(c client.Client, live client.Reader) *Applier {
	return &Applier{client: c, live: live, applied: map[objectKey]record{}}
}

// Apply makes the objects so, and sends nothing for those that already are. An
// object that can not be had does not hold up the others: all errors are joined,
// *ConflictError and *RefusedError among them.
func (a *Applier) Apply(ctx context.Context, owner client.Object, objects ...runtime.ApplyConfiguration) error {
	panic("written next")
}

// Prune deletes what the owner controls and is labelled as the owner's, but is not
// among kept: the objects last given to Apply.
func (a *Applier) Prune(ctx context.Context, owner client.Object, kept ...runtime.ApplyConfiguration) error {
	panic("written next")
}

// Forget drops what is remembered of a deleted owner's objects.
func (a *Applier) Forget(owner types.NamespacedName) {
	panic("written next")
}

type objectKey struct{}
type record struct{}
