// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// planned is a pool of the file as the API server would store it, and as it is now.
type planned struct {
	manifest manifest
	// before is nil for a new pool.
	before *poolv1.ConnectionPool
	after  *poolv1.ConnectionPool
	// server is the Upstream that it leads to; empty where that is not known, and then
	// unknown says why.
	server, unknown string
}

// rehearse has the API server check every pool without storing it.
func (s *session) rehearse(ctx context.Context, manifests []manifest) ([]planned, error) {
	var out []planned
	for _, m := range manifests {
		m.pool.Namespace = cmp.Or(m.pool.Namespace, s.namespace)
		one, err := s.rehearseOne(ctx, m)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(p planned) bool {
			return client.ObjectKeyFromObject(p.after) == client.ObjectKeyFromObject(one.after)
		}) {
			return nil, usageError("%w", m.at("metadata.name", fmt.Sprintf("%s/%s stands in the file twice", m.pool.Namespace, m.pool.Name)))
		}
		out = append(out, *one)
	}
	return out, nil
}

func (s *session) rehearseOne(ctx context.Context, m manifest) (*planned, error) {
	strict := client.WithFieldValidation(s.client, metav1.FieldValidationStrict)
	sent := m.unstructured()
	before := &poolv1.ConnectionPool{}
	err := s.client.Get(ctx, client.ObjectKeyFromObject(sent), before)
	switch {
	case apierrors.IsNotFound(err):
		before = nil
		err = strict.Create(ctx, sent, client.DryRunAll)
	case err != nil:
		return nil, fmt.Errorf("reading ConnectionPool %s: %w", m.pool.Name, err)
	default:
		if _, written := m.spec["replicas"]; !written && before.Spec.Replicas != nil {
			m.spec["replicas"] = int64(*before.Spec.Replicas) // It is an autoscaler's.
		}
		sent.SetResourceVersion(before.ResourceVersion)
		err = strict.Update(ctx, sent, client.DryRunAll)
	}
	if err != nil {
		return nil, m.turnedDown(err)
	}
	after := &poolv1.ConnectionPool{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(sent.Object, after); err != nil {
		return nil, fmt.Errorf("reading the checked ConnectionPool %s: %w", m.pool.Name, err)
	}
	after.Status = poolv1.ConnectionPoolStatus{} // It is of the server that the pool has now.
	return &planned{manifest: m, before: before, after: after}, nil
}

// turnedDown is why the API server would not store the pool.
func (m *manifest) turnedDown(err error) error {
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return m.refused(err)
	case apierrors.IsNotFound(err):
		return wrong("namespace %s does not exist: create it first", m.pool.Namespace)
	}
	return fmt.Errorf("having ConnectionPool %s checked without storing it: %w", m.pool.Name, err)
}

// unstructured is what of the object a person has written.
func (m *manifest) unstructured() *unstructured.Unstructured {
	if m.spec == nil {
		m.spec = map[string]any{}
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": m.spec}}
	object.SetGroupVersionKind(poolv1.SchemeGroupVersion.WithKind("ConnectionPool"))
	object.SetNamespace(m.pool.Namespace)
	object.SetName(m.pool.Name)
	object.SetLabels(m.pool.Labels)
	object.SetAnnotations(m.pool.Annotations)
	return object
}

// locate finds the server of each pool: the one it has, the one that another pool finds
// behind the same Secret, or the one at the address in the Secret.
func (s *session) locate(ctx context.Context, plans []planned, pools []poolv1.ConnectionPool, upstreams map[string]*poolv1.Upstream) {
	for i := range plans {
		p := &plans[i]
		known := pools
		if p.before != nil {
			known = slices.Concat([]poolv1.ConnectionPool{*p.before}, pools)
		}
		like := slices.IndexFunc(known, func(o poolv1.ConnectionPool) bool {
			return o.Namespace == p.after.Namespace && o.Spec.Upstream.SecretRef == p.after.Spec.Upstream.SecretRef && o.Status.Upstream.Name != ""
		})
		if like >= 0 {
			p.after.Status.Upstream = known[like].Status.Upstream // With the limits of its role and database.
			p.server = known[like].Status.Upstream.Name
			continue
		}
		p.server, p.unknown = s.behindSecret(ctx, p.after, upstreams)
	}
}

// behindSecret finds the Upstream at the address that a Secret holds.
func (s *session) behindSecret(ctx context.Context, pool *poolv1.ConnectionPool, upstreams map[string]*poolv1.Upstream) (name, why string) {
	ref := pool.Spec.Upstream.SecretRef
	var secret corev1.Secret
	err := s.client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: ref.Name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Sprintf("there is no Secret %s in namespace %s yet", ref.Name, pool.Namespace)
	case apierrors.IsForbidden(err):
		return "", fmt.Sprintf("you may not read Secret %s in namespace %s", ref.Name, pool.Namespace)
	case err != nil:
		return "", fmt.Sprintf("reading Secret %s: %v", ref.Name, err)
	}
	source, err := postgres.ParseSecret(secret.Data, ref.Key)
	if err != nil {
		return "", err.Error()
	}
	address := source.InNamespace(pool.Namespace).Endpoint()
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		for _, e := range upstreams[name].Status.Endpoints {
			if strings.EqualFold(e.Address, address) {
				return name, ""
			}
		}
	}
	return "", fmt.Sprintf("no pool has used the server at %s yet, so its limits are not known", address)
}
