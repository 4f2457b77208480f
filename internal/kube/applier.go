// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package kube is the one door through which a pool's objects are written. It
// knows server-side apply, ownership and quiet; it does not know what the objects
// are for, and nothing else in the operator may write owned objects.
package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/poolfleet/poolfleet/internal/manifests"
)

// attempts at one object before its contender is reported: a first one, and one
// more for someone who wrote between our look and our write.
const attempts = 2

// Applier writes the objects that a pool consists of. It is safe for concurrent
// use, as long as each owner is worked on once at a time.
type Applier struct {
	client client.Client
	live   client.Reader

	mu sync.Mutex
	// applied is what the API server last answered to an apply; guarded by mu.
	applied map[objectKey]record
}

// NewApplier returns an Applier that writes through c, which reads from the cache
// in the shapes of OwnedObjects. live reads from the API server itself, as a
// manager's GetAPIReader does.
func NewApplier(c client.Client, live client.Reader) *Applier {
	return &Applier{client: c, live: live, applied: map[objectKey]record{}}
}

// Apply makes the objects so, and sends nothing for those that already are. An
// object that can not be had does not hold up the others: all errors are joined,
// *ConflictError and *RefusedError among them.
func (a *Applier) Apply(ctx context.Context, owner client.Object, objects ...runtime.ApplyConfiguration) error {
	var problems []error
	for _, object := range objects {
		wanted, err := encode(object)
		if err == nil {
			err = a.applyOne(ctx, owner, wanted)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (a *Applier) applyOne(ctx context.Context, owner client.Object, w wanted) error {
	seen, err := a.cached(ctx, w.key)
	if err != nil {
		return err
	}
	if a.holds(owner, w, seen) {
		return nil
	}
	for range attempts {
		err = a.lookAndSend(ctx, owner, w)
		if !overtaken(err) {
			break
		}
	}
	return w.explain(err)
}

// lookAndSend decides on the object as it is now. The cache may not have seen it
// yet, and to take it from someone else would be worse than a read.
func (a *Applier) lookAndSend(ctx context.Context, owner client.Object, w wanted) error {
	live, err := find(ctx, a.live, metadataOf(w.key), w.key)
	if err != nil {
		return err
	}
	if live != nil {
		if err := a.ownership(owner, w, live); err != nil {
			return err
		}
	}
	if a.holds(owner, w, live) {
		return nil
	}
	return a.send(ctx, owner, w, live)
}

// send applies the object over the live one, or makes it where there is none.
func (a *Applier) send(ctx context.Context, owner client.Object, w wanted, live client.Object) error {
	body := w.object.DeepCopy()
	options := []client.ApplyOption{client.FieldOwner(manifests.PoolFieldOwner)}
	if live != nil {
		// Another object that took the name since we looked has another UID, and is refused.
		body.SetUID(live.GetUID())
		// Without force where nothing was: what someone makes in this moment is theirs.
		options = append(options, client.ForceOwnership)
	}
	if err := a.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(body), options...); err != nil {
		return err
	}
	a.remember(owner, w, body)
	if live == nil || live.GetResourceVersion() != body.GetResourceVersion() {
		log.FromContext(ctx).Info("Applied an object", "kind", w.key.kind.Kind, "object", klog.KObj(body))
	}
	return nil
}

// cached returns the object as the cache shows it, or the API server where the kind
// is not watched; nil when it is not there.
func (a *Applier) cached(ctx context.Context, key objectKey) (client.Object, error) {
	if !a.remembers(key) {
		return nil, nil // Nothing to compare with: the live object decides.
	}
	if !slices.Contains(ownedKinds, key.kind) {
		return find(ctx, a.live, metadataOf(key), key) // To ask the cache would have it watch the kind.
	}
	return find(ctx, a.client, shapeOf(key.kind), key)
}

func find(ctx context.Context, reader client.Reader, into client.Object, key objectKey) (client.Object, error) {
	err := reader.Get(ctx, key.name, into)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return into, nil
}

// ownership returns a *ConflictError unless the owner controls the live object.
func (a *Applier) ownership(owner client.Object, w wanted, live client.Object) error {
	if metav1.IsControlledBy(live, owner) {
		return nil
	}
	conflict := &ConflictError{Kind: w.key.kind.Kind, Namespace: w.key.name.Namespace, Name: w.key.name.Name}
	other := metav1.GetControllerOf(live)
	if other == nil {
		return conflict
	}
	conflict.Owner = other.Kind + "/" + other.Name
	kind, err := a.client.GroupVersionKindFor(owner)
	if err != nil {
		return fmt.Errorf("naming the kind of an owner: %w", err)
	}
	sameKind := other.APIVersion == kind.GroupVersion().String() && other.Kind == kind.Kind
	conflict.Predecessor = sameKind && other.Name == owner.GetName()
	return conflict
}

// Forget drops what is remembered of a deleted owner's objects.
func (a *Applier) Forget(owner types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, r := range a.applied {
		if r.owner == owner.Name && key.name.Namespace == owner.Namespace {
			delete(a.applied, key)
		}
	}
}
