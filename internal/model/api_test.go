// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// kind of object that the API server holds.
type kind string

const (
	upstreams kind = "upstreams"
	pools     kind = "connectionpools"
	podsKind  kind = "pods"
	secrets   kind = "secrets"
)

// snapshot is all objects of a kind at one moment. Neither it nor an object in it
// ever changes.
type snapshot map[types.NamespacedName]client.Object

// api is the API server: the present, and all that was, for caches that lag.
type api struct {
	version int
	uids    int
	clock   func() time.Time
	history map[kind][]snapshot
}

func newAPI(clock func() time.Time) *api {
	a := &api{clock: clock, history: map[kind][]snapshot{}}
	for _, k := range []kind{upstreams, pools, podsKind, secrets} {
		a.history[k] = []snapshot{{}}
	}
	return a
}

func (a *api) now(k kind) snapshot { return a.history[k][len(a.history[k])-1] }

// commit makes o the present state; a nil o is the object's end.
func (a *api) commit(k kind, key types.NamespacedName, o client.Object) {
	next := maps.Clone(a.now(k))
	a.version++
	if o == nil {
		delete(next, key)
	} else {
		o.SetResourceVersion(strconv.Itoa(a.version))
		next[key] = o
	}
	a.history[k] = append(a.history[k], next)
}

// create gives a new object its UID and its time of creation.
func (a *api) create(k kind, o client.Object) error {
	key := client.ObjectKeyFromObject(o)
	if a.now(k)[key] != nil {
		return apierrors.NewAlreadyExists(resource(k), o.GetName())
	}
	a.uids++
	o.SetUID(types.UID(fmt.Sprintf("uid-%d", a.uids)))
	o.SetCreationTimestamp(metav1.NewTime(a.clock().Truncate(time.Second)))
	a.commit(k, key, o)
	return nil
}

// change replaces an object by a changed copy. One that is gone stays gone, and
// nothing happens where nothing differs.
func (a *api) change(k kind, key types.NamespacedName, change func(client.Object)) {
	old := a.now(k)[key]
	if old == nil {
		return
	}
	o := copyOf(old)
	if change(o); !equality.Semantic.DeepEqual(old, o) {
		a.commit(k, key, o)
	}
}

// update is an update by resourceVersion, of the status or of all but the status.
func (a *api) update(want client.Object, subresource bool) error {
	k, key := kindOf(want), client.ObjectKeyFromObject(want)
	old := a.now(k)[key]
	switch {
	case old == nil:
		return apierrors.NewNotFound(resource(k), key.Name)
	case want.GetResourceVersion() != old.GetResourceVersion() || want.GetUID() != old.GetUID():
		return apierrors.NewConflict(resource(k), key.Name, fmt.Errorf("the object has been modified"))
	}
	next, was := copyOf(want), copyOf(old)
	if upstream, ok := next.(*poolv1.Upstream); ok {
		if before := as[*poolv1.Upstream](was); subresource {
			upstream.ObjectMeta, upstream.Spec = before.ObjectMeta, before.Spec
		} else {
			upstream.Status = before.Status
		}
	}
	if !next.GetDeletionTimestamp().IsZero() && len(next.GetFinalizers()) == 0 {
		next = nil
	}
	a.commit(k, key, next)
	if next != nil {
		want.SetResourceVersion(next.GetResourceVersion())
	}
	return nil
}

// remove deletes an object, or marks it where a finalizer keeps it.
func (a *api) remove(o client.Object, preconditions *metav1.Preconditions) error {
	k, key := kindOf(o), client.ObjectKeyFromObject(o)
	old := a.now(k)[key]
	if old == nil {
		return apierrors.NewNotFound(resource(k), key.Name)
	}
	if p := preconditions; p != nil &&
		(p.UID != nil && *p.UID != old.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion()) {
		return apierrors.NewConflict(resource(k), key.Name, fmt.Errorf("a precondition does not hold"))
	}
	if len(old.GetFinalizers()) == 0 {
		a.commit(k, key, nil)
		return nil
	}
	a.change(k, key, func(o client.Object) { o.SetDeletionTimestamp(new(metav1.NewTime(a.clock()))) })
	return nil
}

// sorted are the objects of a snapshot in the order of their names.
func (s snapshot) sorted() []client.Object {
	keys := slices.SortedFunc(maps.Keys(s), func(a, b types.NamespacedName) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	out := make([]client.Object, 0, len(keys))
	for _, key := range keys {
		out = append(out, s[key])
	}
	return out
}

func copyOf[T client.Object](o T) T { return as[T](o.DeepCopyObject()) }

// as is for objects whose kind is known.
func as[T any](o any) T {
	known, ok := o.(T)
	if !ok {
		panic(fmt.Sprintf("the API server gave a %T", o))
	}
	return known
}

func resource(k kind) schema.GroupResource { return schema.GroupResource{Resource: string(k)} }

func kindOf(o client.Object) kind {
	switch o.(type) {
	case *poolv1.Upstream:
		return upstreams
	case *poolv1.ConnectionPool:
		return pools
	case *corev1.Pod:
		return podsKind
	case *corev1.Secret:
		return secrets
	}
	panic(fmt.Sprintf("the API server holds no %T", o))
}
