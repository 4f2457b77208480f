// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// gateways are the gateway's pods.
func (s *shop) gateways(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	err := s.client.List(t.Context(), &pods, client.InNamespace(install.Namespace), client.MatchingLabels{"app.kubernetes.io/component": "edge"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("%d pods of the gateway are there, %v", len(pods.Items), err)
	}
	return pods.Items
}

// letsGo looks at what clients leave behind that have gone: drivers close a WebSocket
// in ways of their own, and the isolate of a request is gone right after it.
func (s *shop) letsGo(t *testing.T) {
	for _, pod := range s.gateways(t) {
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:9090/proxy/metrics", pod.Namespace, pod.Name)
		eventually(t, "pod "+pod.Name+" has no WebSocket open", func() error {
			metrics, err := s.tools.Run(t.Context(), "", s.tools.Kubectl, "get", "--raw", path)
			if err != nil {
				return err
			}
			for line := range strings.Lines(metrics) {
				if count, found := strings.CutPrefix(strings.TrimSpace(line), "poolfleet_edge_open_websockets "); found && count != "0" {
					return fmt.Errorf("it has %s", count)
				} else if found {
					return nil
				}
			}
			return fmt.Errorf("its metrics do not say how many it has")
		})
	}
}

// tellsNoSecret looks for the password and the statements in the gateway's logs.
func (s *shop) tellsNoSecret(t *testing.T) {
	parsed, err := url.Parse(s.published(t, "EDGE_URL"))
	if err != nil {
		t.Fatal("the published URL is malformed")
	}
	password, _ := parsed.User.Password()
	for _, pod := range s.gateways(t) {
		log, err := s.tools.Run(t.Context(), "", s.tools.Kubectl, "logs", "--namespace", pod.Namespace, pod.Name)
		if err != nil {
			t.Fatal(err)
		}
		if log == "" {
			t.Errorf("pod %s has said nothing", pod.Name)
		}
		sidecar, err := s.tools.Run(t.Context(), "", s.tools.Kubectl, "logs", "--namespace", pod.Namespace, pod.Name, "--container", "accelerate-legacy")
		if err != nil || sidecar != "" {
			t.Errorf("the sidecar of pod %s says %q, %v", pod.Name, sidecar, err)
		}
		for what, secret := range map[string]string{"the password": password, "a wrong password": guess, "a statement": "pg_sleep"} {
			if strings.Contains(log, secret) {
				t.Errorf("pod %s tells %s in its log", pod.Name, what)
			}
		}
	}
}
