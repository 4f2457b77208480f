// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

const managerUser = "system:serviceaccount:" + install.Namespace + ":" + install.Manager

// auditLog is the API server's own account of every request, written before it is answered.
type auditLog struct{ path string }

// request is one that the manager made.
type request struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	Status    struct{ Code int } `json:"responseStatus"`
	At        time.Time          `json:"requestReceivedTimestamp"`
}

// String names the request as a person would.
func (r request) String() string {
	resource := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		resource += "/" + r.ObjectRef.Subresource
	}
	return fmt.Sprintf("%s %s %s", r.Verb, resource, r.ObjectRef.Name)
}

// findAuditLog finds it beside the local cluster's kubeconfig.
func findAuditLog(kubeconfig string) (auditLog, error) {
	path := filepath.Join(filepath.Dir(kubeconfig), "nodes", "node-0", "log", "audit.log")
	if _, err := os.Stat(path); err != nil {
		return auditLog{}, fmt.Errorf("finding the API server's audit log: these tests need the local cluster: %w", err)
	}
	return auditLog{path}, nil
}

// since returns the manager's requests since a moment, but for those about its lease.
func (l auditLog) since(t *testing.T, from time.Time) []request {
	t.Helper()
	file, err := os.Open(l.path)
	if err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	defer file.Close()
	var requests []request
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests // What follows the last line's end is not written to its end yet.
		}
		if err != nil {
			t.Fatalf("reading the audit log: %v", err)
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("reading the audit log: %v", err)
		}
		if r.User.Username == managerUser && r.ObjectRef.Resource != "leases" && !r.At.Before(from) {
			requests = append(requests, r)
		}
	}
}

// writesSince are those of the requests that change something or tried to.
func (l auditLog) writesSince(t *testing.T, from time.Time) []request {
	t.Helper()
	return slices.DeleteFunc(l.since(t, from), func(r request) bool {
		return slices.Contains([]string{"get", "list", "watch"}, r.Verb)
	})
}

// quietFor waits until the manager has written nothing for so long.
func (l auditLog) quietFor(t *testing.T, silence time.Duration) {
	t.Helper()
	eventually(t, fmt.Sprintf("the manager has written nothing for %s", silence), func() error {
		if writes := l.writesSince(t, time.Now().Add(-silence)); len(writes) > 0 {
			return fmt.Errorf("it wrote %s", listed(writes))
		}
		return nil
	})
}

func listed(requests []request) string {
	lines := make([]string, len(requests))
	for i, r := range requests {
		lines[i] = r.String()
	}
	return "\n    " + strings.Join(lines, "\n    ")
}
