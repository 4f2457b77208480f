// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var deploymentKind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// prunedKinds are the kinds of which a living pool may come to need one less: a
// NetworkPolicy that is switched off, a published Secret that has a new name. Of the
// others every pool always has exactly one, and the operator need not be allowed
// to delete them.
var prunedKinds = []schema.GroupVersionKind{
	corev1.SchemeGroupVersion.WithKind("Secret"),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
}

// ownedKinds are all kinds that a pool owns, or owned in a release that may have
// run here before.
var ownedKinds = []schema.GroupVersionKind{
	deploymentKind,
	corev1.SchemeGroupVersion.WithKind("Service"),
	corev1.SchemeGroupVersion.WithKind("Secret"),
	corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
	policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
}

// OwnedObjects returns an empty object for each kind that a pool owns, in the shape
// in which the Applier reads it: watched in another shape, it would be cached twice.
// All are metadata alone but the Deployment, whose status is needed anyway; so no
// Secret's content is ever listed.
func OwnedObjects() []client.Object {
	var objects []client.Object
	for _, kind := range ownedKinds {
		objects = append(objects, shapeOf(kind))
	}
	return objects
}

func shapeOf(kind schema.GroupVersionKind) client.Object {
	if kind == deploymentKind {
		return &appsv1.Deployment{}
	}
	return metadataOf(objectKey{kind: kind})
}

func listShapeOf(kind schema.GroupVersionKind) client.ObjectList {
	if kind == deploymentKind {
		return &appsv1.DeploymentList{}
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	return list
}

func metadataOf(key objectKey) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(key.kind)
	object.SetNamespace(key.name.Namespace)
	object.SetName(key.name.Name)
	return object
}

// objectKey names one object of the cluster.
type objectKey struct {
	kind schema.GroupVersionKind
	name client.ObjectKey
}

func (k objectKey) String() string { return k.kind.Kind + " " + k.name.String() }

// wanted is an apply configuration, ready to be compared and sent.
type wanted struct {
	key    objectKey
	object *unstructured.Unstructured
	digest [sha256.Size]byte
}

// encode takes an apply configuration through its JSON, which holds exactly the
// fields that are meant. The configuration itself stays as it is: a client writes
// the API server's answer into what it sends.
func encode(object runtime.ApplyConfiguration) (wanted, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return wanted{}, fmt.Errorf("encoding an object: %w", err)
	}
	body := &unstructured.Unstructured{}
	if err := body.UnmarshalJSON(data); err != nil {
		return wanted{}, fmt.Errorf("decoding an object of type %T: it needs a kind and an API version", object)
	}
	return wanted{
		key:    objectKey{kind: body.GroupVersionKind(), name: client.ObjectKeyFromObject(body)},
		object: body,
		digest: sha256.Sum256(data),
	}, nil
}
