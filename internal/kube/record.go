// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"crypto/sha256"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// record is what stood at the API server when it had taken an object, and what
// had been asked for.
type record struct {
	// owner is the name of the pool, in the object's namespace.
	owner string
	// digest of the apply configuration.
	digest [sha256.Size]byte
	// uid, resourceVersion and generation of the answer. generation is 0 for kinds
	// that have none.
	uid             types.UID
	resourceVersion string
	generation      int64
}

func (a *Applier) remembers(key objectKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.applied[key]
	return known
}

func (a *Applier) remember(owner client.Object, w wanted, answer metav1.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applied[w.key] = record{
		owner:           owner.GetName(),
		digest:          w.digest,
		uid:             answer.GetUID(),
		resourceVersion: answer.GetResourceVersion(),
		generation:      answer.GetGeneration(),
	}
}

func (a *Applier) forget(key objectKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.applied, key)
}

// holds reports whether the seen object is as wanted, as far as anyone can know
// who does not see all of it: the same was asked for before, and nobody has
// written since.
func (a *Applier) holds(owner client.Object, w wanted, seen client.Object) bool {
	a.mu.Lock()
	before, known := a.applied[w.key]
	a.mu.Unlock()
	if seen == nil || !known || before.digest != w.digest || before.uid != seen.GetUID() {
		return false
	}
	if before.newerThan(seen) {
		return true // The cache has yet to see our own write; what comes after it will wake us.
	}
	// Nothing can be made of an object that is about to go; its end will wake us.
	return seen.GetDeletionTimestamp() != nil ||
		before.sameVersion(seen) &&
			metav1.IsControlledBy(seen, owner) &&
			contains(seen.GetLabels(), w.object.GetLabels()) &&
			contains(seen.GetAnnotations(), w.object.GetAnnotations())
}

func (r record) newerThan(seen client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(seen.GetResourceVersion(), r.resourceVersion)
	return err == nil && order < 0
}

// sameVersion goes by the generation where there is one, because it leaves status
// out. It leaves most metadata out, too.
func (r record) sameVersion(seen client.Object) bool {
	if r.generation != 0 {
		return seen.GetGeneration() == r.generation
	}
	return seen.GetResourceVersion() == r.resourceVersion
}

func contains(all, some map[string]string) bool {
	for key, value := range some {
		if have, ok := all[key]; !ok || have != value {
			return false
		}
	}
	return true
}
