// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// view is where a read looks: the present, or a cache.
type view func(kind) snapshot

func get(v view, key types.NamespacedName, into client.Object) error {
	k := kindOf(into)
	found := v(k)[key]
	if found == nil {
		return apierrors.NewNotFound(resource(k), key.Name)
	}
	switch into := into.(type) {
	case *poolv1.Upstream:
		as[*poolv1.Upstream](found).DeepCopyInto(into)
	case *poolv1.ConnectionPool:
		as[*poolv1.ConnectionPool](found).DeepCopyInto(into)
	case *corev1.Pod:
		as[*corev1.Pod](found).DeepCopyInto(into)
	case *corev1.Secret:
		as[*corev1.Secret](found).DeepCopyInto(into)
	}
	return nil
}

func list(v view, into client.ObjectList, opts []client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.FieldSelector != nil {
		return errors.New("listing by a field: the simulated API server has no index")
	}
	wanted := func(x client.Object) bool {
		return (o.Namespace == "" || o.Namespace == x.GetNamespace()) &&
			(o.LabelSelector == nil || o.LabelSelector.Matches(labelsOf(x)))
	}
	switch into := into.(type) {
	case *poolv1.UpstreamList:
		into.Items = collect[*poolv1.Upstream, poolv1.Upstream](v(upstreams), wanted)
	case *poolv1.ConnectionPoolList:
		into.Items = collect[*poolv1.ConnectionPool, poolv1.ConnectionPool](v(pools), wanted)
	case *corev1.PodList:
		into.Items = collect[*corev1.Pod, corev1.Pod](v(podsKind), wanted)
	default:
		return fmt.Errorf("listing %T: the simulated API server does not hold it", into)
	}
	return nil
}

type labelled map[string]string

func labelsOf(o client.Object) labelled { return o.GetLabels() }

func (l labelled) Has(label string) bool              { _, ok := l[label]; return ok }
func (l labelled) Get(label string) string            { return l[label] }
func (l labelled) Lookup(label string) (string, bool) { v, ok := l[label]; return v, ok }

func collect[P interface {
	client.Object
	DeepCopyInto(into *T)
	*T
}, T any](s snapshot, wanted func(client.Object) bool) []T {
	var out []T
	for _, o := range s.sorted() {
		if wanted(o) {
			var item T
			as[P](o).DeepCopyInto(&item)
			out = append(out, item)
		}
	}
	return out
}

// reader is what a leader reads with; before each call the scheduler has its say.
type reader struct {
	view view
	name string
	gate func(op string) error
}

func (r reader) Get(_ context.Context, key types.NamespacedName, o client.Object, _ ...client.GetOption) error {
	if err := r.gate(fmt.Sprintf("get %s %s %s", r.name, kindOf(o), key.Name)); err != nil {
		return err
	}
	return get(r.view, key, o)
}

func (r reader) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	if err := r.gate(fmt.Sprintf("list %s %T", r.name, into)); err != nil {
		return err
	}
	return list(r.view, into, opts)
}

// apiClient is a leader's client.Client, with the verbs that the ledger code uses.
type apiClient struct {
	client.Client // Verbs that are not simulated end the test.

	reader reader
	writes *writes
}

func (c *apiClient) Get(ctx context.Context, key types.NamespacedName, o client.Object, opts ...client.GetOption) error {
	return c.reader.Get(ctx, key, o, opts...)
}

func (c *apiClient) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	return c.reader.List(ctx, into, opts...)
}

func (c *apiClient) Status() client.SubResourceWriter { return statusWriter{writes: c.writes} }

func (c *apiClient) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	return c.writes.do("update "+o.GetName(), func() error { return c.writes.api.update(o, false) })
}

func (c *apiClient) Delete(_ context.Context, o client.Object, opts ...client.DeleteOption) error {
	var options client.DeleteOptions
	options.ApplyOptions(opts)
	return c.writes.do("delete "+o.GetName(), func() error { return c.writes.api.remove(o, options.Preconditions) })
}

func (c *apiClient) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	data, err := patch.Data(o)
	if err != nil || patch.Type() != types.JSONPatchType {
		return fmt.Errorf("patching with a %s patch: %w", patch.Type(), err)
	}
	key := client.ObjectKeyFromObject(o)
	return c.writes.do("patch "+key.Name, func() error { return c.writes.api.patch(key, data) })
}

type statusWriter struct {
	client.SubResourceWriter // Verbs that are not simulated end the test.

	writes *writes
}

func (s statusWriter) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	return s.writes.do("write the ledger of "+o.GetName(), func() error { return s.writes.ledger(as[*poolv1.Upstream](o)) })
}

// patch applies a JSON patch to a pod, as the API server does: a test that fails
// makes the patch invalid.
func (a *api) patch(key types.NamespacedName, data []byte) error {
	old := a.now(podsKind)[key]
	if old == nil {
		return apierrors.NewNotFound(resource(podsKind), key.Name)
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	before := as[*corev1.Pod](old)
	document, err := json.Marshal(metadata{before.UID, before.Annotations})
	if err != nil {
		return err
	}
	document, err = patch.Apply(wrap(document))
	if err != nil {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid, Code: 422, Message: err.Error()}}
	}
	var after struct {
		Metadata metadata `json:"metadata"`
	}
	if err := json.Unmarshal(document, &after); err != nil {
		return err
	}
	a.change(podsKind, key, func(o client.Object) { o.SetAnnotations(after.Metadata.Annotations) })
	return nil
}

// metadata is the part of a pod that a grant's patch touches.
type metadata struct {
	UID         types.UID         `json:"uid"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func wrap(meta []byte) []byte { return append(append([]byte(`{"metadata":`), meta...), '}') }
