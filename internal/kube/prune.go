// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/poolfleet/poolfleet/internal/manifests"
)

// Prune deletes what the owner controls and is labelled as the owner's, but is not
// among kept: the objects last given to Apply.
func (a *Applier) Prune(ctx context.Context, owner client.Object, kept ...runtime.ApplyConfiguration) error {
	keys := sets.New[objectKey]()
	for _, object := range kept {
		w, err := encode(object)
		if err != nil {
			return err
		}
		keys.Insert(w.key)
	}
	var problems []error
	for _, kind := range prunedKinds {
		problems = append(problems, a.pruneKind(ctx, owner, kind, keys))
	}
	return errors.Join(problems...)
}

func (a *Applier) pruneKind(ctx context.Context, owner client.Object, kind schema.GroupVersionKind, kept sets.Set[objectKey]) error {
	list := listShapeOf(kind)
	err := a.client.List(ctx, list, client.InNamespace(owner.GetNamespace()),
		client.MatchingLabels{manifests.PoolLabel: owner.GetName()})
	if err != nil {
		return fmt.Errorf("listing the pool's objects of kind %s: %w", kind.Kind, err)
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err != nil {
			return fmt.Errorf("reading the metadata of an object of kind %s: %w", kind.Kind, err)
		}
		key := objectKey{kind: kind, name: client.ObjectKey{Namespace: object.GetNamespace(), Name: object.GetName()}}
		if kept.Has(key) || !metav1.IsControlledBy(object, owner) || object.GetDeletionTimestamp() != nil {
			return nil
		}
		return a.remove(ctx, key, object)
	})
}

// Withdraw deletes an object of a kind that is not watched, if the owner controls it.
// The cluster need not know the kind.
func (a *Applier) Withdraw(ctx context.Context, owner client.Object, kind schema.GroupVersionKind, name string) error {
	key := objectKey{kind: kind, name: client.ObjectKey{Namespace: owner.GetNamespace(), Name: name}}
	live, err := find(ctx, a.live, metadataOf(key), key)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil || live == nil || !metav1.IsControlledBy(live, owner) || live.GetDeletionTimestamp() != nil {
		return err
	}
	return a.remove(ctx, key, live)
}

// remove deletes the object as it was seen: another of its name, or one that was
// given away since, is left alone.
func (a *Applier) remove(ctx context.Context, key objectKey, seen metav1.Object) error {
	err := a.client.Delete(ctx, metadataOf(key),
		client.Preconditions{UID: new(seen.GetUID()), ResourceVersion: new(seen.GetResourceVersion())},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	a.forget(key)
	if err == nil {
		log.FromContext(ctx).Info("Deleted an object", "kind", key.kind.Kind, "object", klog.KObj(seen))
	}
	return nil
}
