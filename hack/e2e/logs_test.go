// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// passwords are all that the tests came to know; none may turn up in a log.
type passwords struct {
	mu  sync.Mutex
	all []string
}

func (p *passwords) add(password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, password)
}

// in reports whether a text holds one of them.
func (p *passwords) in(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, password := range p.all {
		if strings.Contains(text, password) {
			return true
		}
	}
	return false
}

// logs returns what the pods of a namespace that have the labels wrote.
func (w *world) logs(t *testing.T, namespace string, labels client.MatchingLabels) map[string]string {
	t.Helper()
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(namespace), labels); err != nil {
		t.Fatalf("listing pods: %v", err)
	}
	logs := map[string]string{}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodPending {
			continue // Nothing of it has run.
		}
		text, err := w.clientset.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			t.Fatalf("reading the log of pod %s: %v", pod.Name, err)
		}
		logs[pod.Name] = string(text)
	}
	return logs
}

func (w *world) managerLog(t *testing.T) string {
	t.Helper()
	all := ""
	for _, text := range w.logs(t, install.Namespace, client.MatchingLabels{"app.kubernetes.io/component": "manager"}) {
		all += text
	}
	if all == "" {
		t.Fatal("the manager has written no log")
	}
	return all
}

// entries are the lines of the manager's log about one pool.
func (w *world) entries(t *testing.T, namespace, pool string) []logEntry {
	t.Helper()
	var found []logEntry
	for line := range strings.Lines(w.managerLog(t)) {
		var entry logEntry
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line of the manager's log is no JSON object: %q", line)
			continue
		}
		if entry.Pool.Namespace == namespace && entry.Pool.Name == pool {
			found = append(found, entry)
		}
	}
	return found
}

// logEntry is one line of the manager's log.
type logEntry struct {
	Level  string
	Msg    string
	Error  string
	Reason string
	Pool   struct{ Namespace, Name string } `json:"ConnectionPool"`
}

// noPasswordIsTold searches logs, events and statuses of a namespace, and the
// manager's log, for every password that was used.
func (w *world) noPasswordIsTold(t *testing.T, namespace string) {
	t.Helper()
	texts := w.logs(t, namespace, client.MatchingLabels{"app.kubernetes.io/managed-by": "poolfleet"})
	texts["the manager's log"] = w.managerLog(t)
	for _, kind := range []string{"events.events.k8s.io", "connectionpools.poolfleet.dev", "upstreams.poolfleet.dev", "deployments", "pods", "services"} {
		text, err := w.tools.Run(t.Context(), "", w.tools.Kubectl, "get", kind, "--namespace", namespace, "--output", "yaml")
		if err != nil {
			t.Fatal(err)
		}
		texts[kind] = text
	}
	for where, text := range texts {
		if w.passwords.in(text) {
			t.Errorf("a password stands in %s", where)
		}
	}
}
