// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// guard installs the policy that keeps others off the operator's annotations, for one
// namespace.
func guard(t *testing.T, ns string) {
	t.Helper()
	data, err := os.ReadFile("../config/admission/grants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents := bytes.Split(data, []byte("---\n"))
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if len(documents) != 2 || yaml.UnmarshalStrict(documents[0], &policy) != nil || yaml.UnmarshalStrict(documents[1], &binding) != nil {
		t.Fatal("config/admission/grants.yaml is not a policy and its binding")
	}
	binding.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
		MatchLabels: map[string]string{corev1.LabelMetadataName: ns},
	}}
	for _, o := range []client.Object{&policy, &binding} {
		create(t, o)
		t.Cleanup(func() {
			if err := api.Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		})
	}
}

// as is a client with all rights of another name.
func as(t *testing.T, name string) client.Client {
	t.Helper()
	config := rest.CopyConfig(cluster)
	config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}}
	c, err := client.New(config, client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyTheOperatorSetsItsAnnotationsOnPods(t *testing.T) {
	const refusal = "only the Poolfleet operator sets, changes or removes"
	ns := namespace(t)
	aPod := func(name string, annotations map[string]string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: annotations},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pooler", Image: "pooler:test"}}},
		}
	}
	bare := aPod("bare", nil)
	create(t, bare)
	guard(t, ns)
	operator := as(t, "system:serviceaccount:poolfleet-system:poolfleet-manager")
	for _, annotation := range []string{poolv1.GrantAnnotation, poolv1.PeersAnnotation} {
		t.Run(annotation, func(t *testing.T) {
			set := func(c client.Client, value string) error {
				patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+annotation+`":`+value+`}}}`))
				return c.Patch(t.Context(), bare.DeepCopy(), patch)
			}
			eventually(t, func(g gomega.Gomega) { // A new policy takes a moment.
				g.Expect(set(api, strconv.Quote(rand.Text()))).To(gomega.MatchError(gomega.ContainSubstring(refusal)))
			})
			if err := set(operator, `"a"`); err != nil {
				t.Errorf("the operator sets it: %v", err)
			}
			for name, attempt := range map[string]func() error{
				"changes it":          func() error { return set(api, `"b"`) },
				"removes it":          func() error { return set(api, "null") },
				"makes a pod with it": func() error { return api.Create(t.Context(), aPod("copy", map[string]string{annotation: "a"})) },
			} {
				if err := attempt(); err == nil || !strings.Contains(err.Error(), refusal) {
					t.Errorf("someone else %s: %v", name, err)
				}
			}
			if err := set(operator, `"c"`); err != nil {
				t.Errorf("the operator changes it: %v", err)
			}
		})
	}
	other := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/note":"mine"}}}`))
	if err := api.Patch(t.Context(), bare, other); err != nil {
		t.Errorf("someone else sets another annotation: %v", err)
	}
	if err := api.Create(t.Context(), aPod("plain", nil)); err != nil {
		t.Errorf("someone else makes a pod: %v", err)
	}
}
