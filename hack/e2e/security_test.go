// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// grantsAreTheOperators tries as the cluster's administrator, who may do everything
// that RBAC knows of.
func (s *story) grantsAreTheOperators(t *testing.T) {
	pooler := s.poolers(t, s.pool)[0]
	stranger := pooler.DeepCopy()
	stranger.ObjectMeta = metav1.ObjectMeta{Namespace: s.namespace, Name: "copy", Annotations: pooler.Annotations}
	stranger.Spec.NodeName = ""
	attempts := map[string]func() error{
		"changes it":                 func() error { return s.annotate(t, &pooler, `"more"`) },
		"removes it":                 func() error { return s.annotate(t, &pooler, "null") },
		"changes it with the status": func() error { return s.annotate(t, &pooler, `"more"`, "status") },
		"copies a pod that has it":   func() error { return s.client.Create(t.Context(), stranger) },
	}
	for name, attempt := range attempts {
		err := attempt()
		if want := "only the Poolfleet operator sets, changes or removes the annotation poolfleet.dev/grant"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("someone else %s: %v, want %q", name, err, want)
		}
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/note":"mine"}}}`))
	if err := s.client.Patch(t.Context(), &pooler, patch); err != nil {
		t.Errorf("someone else sets another annotation: %v", err)
	}
}

func (s *story) annotate(t *testing.T, pod *corev1.Pod, value string, subresources ...string) error {
	t.Helper()
	body := []byte(`{"metadata":{"annotations":{"` + poolv1.GrantAnnotation + `":` + value + `}}}`)
	_, err := s.clientset.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.MergePatchType, body, metav1.PatchOptions{}, subresources...)
	return err
}

// unusedOnPurpose are permissions that a run need not use, each with its reason.
var unusedOnPurpose = map[string]string{
	"get certificates.cert-manager.io":                "only where cert-manager is installed and a pool names an issuer",
	"create certificates.cert-manager.io":             "only where cert-manager is installed and a pool names an issuer",
	"patch certificates.cert-manager.io":              "only where cert-manager is installed and a pool names an issuer",
	"delete certificates.cert-manager.io":             "only where cert-manager is installed and a pool names an issuer",
	"get upstreams.poolfleet.dev":                     "read past the cache when two pools meet a new server at once, which is rare",
	"patch events.events.k8s.io":                      "an event that comes again is counted up, which a run need not see",
	"update connectionpools/finalizers.poolfleet.dev": "owner references that block deletion need it where the admission plugin OwnerReferencesPermissionEnforcement is on, as on OpenShift",
}

// leastPrivilege compares what the manager's roles allow with what it did.
func (w *world) leastPrivilege(t *testing.T, from time.Time) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: install.Manager}}
	w.get(t, role)
	used := map[string]bool{}
	for _, r := range w.audit.since(t, from) {
		resource := r.ObjectRef.Resource
		if r.ObjectRef.Subresource != "" {
			resource += "/" + r.ObjectRef.Subresource
		}
		used[r.Verb+" "+resource+"."+r.ObjectRef.APIGroup] = true
		if r.Verb == "patch" && r.Status.Code == http.StatusCreated {
			// An apply that makes an object must be allowed to create, and counts as a patch.
			used["create "+resource+"."+r.ObjectRef.APIGroup] = true
		}
	}
	allowed := permissions(role.Rules)
	if !used["watch connectionpools.poolfleet.dev"] {
		t.Fatal("the API server's audit policy leaves out what the manager reads: `localcluster up --fresh` with the present policy records it")
	}
	unused := slices.DeleteFunc(slices.Clone(allowed), func(permission string) bool {
		// The manager streams what it watches and lists it only from an API server that
		// can not stream (the feature WatchList).
		watched := slices.Contains(allowed, strings.Replace(permission, "list ", "watch ", 1))
		return used[permission] || unusedOnPurpose[permission] != "" || strings.HasPrefix(permission, "list ") && watched
	})
	if len(unused) > 0 {
		t.Errorf("the manager did not use these permissions in the whole run; it used %q:\n    %s",
			slices.Sorted(maps.Keys(used)), strings.Join(unused, "\n    "))
	}
}
