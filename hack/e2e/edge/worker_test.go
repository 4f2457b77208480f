// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// bundles is where `make e2e-edge` puts what it makes of testdata/workers.
const bundles = "../../../.cache/workers"

// requestTimeout is for slow machines; nothing is judged by how long it took.
const requestTimeout = 2 * time.Minute

// surroundings are what a Worker's isolate finds around it. They are the process's
// own: its names lead where they say, in a mount namespace with another /etc/hosts.
type surroundings struct {
	// Hosts are addresses by name.
	Hosts map[string]string
	// Authorities are certificates, in PEM, that are trusted beside the usual ones.
	Authorities string
	// Bindings are texts, Hyperdrives URLs by name.
	Bindings    map[string]string
	Hyperdrives map[string]string
}

// worker is the Worker of testdata/workers in a workerd of its own.
type worker struct {
	url    string
	client *http.Client
	said   *testenv.Buffer
}

// problem is what an application sees of an error.
type problem struct {
	Name, Code, Database, Message, Hint string
}

// Error has the problem's words.
func (p *problem) Error() string {
	return fmt.Sprintf("%s %s %s: %s", p.Name, p.Code, p.Database, p.Message)
}

// startWorker runs the Worker until the test is over.
func startWorker(t *testing.T, s surroundings) *worker {
	t.Helper()
	told := struct {
		Bindings    map[string]string `json:"bindings"`
		Hyperdrives map[string]string `json:"hyperdrives"`
	}{s.Bindings, s.Hyperdrives}
	address, said := testenv.Listening(t, "the Worker's process", workerCommand(t, s), told)
	return &worker{url: address, said: said, client: &http.Client{
		// A kept connection may be closed while a request is on its way over it.
		Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

// workerCommand is the process, which is given nothing that is secret.
func workerCommand(t *testing.T, s surroundings) *exec.Cmd {
	t.Helper()
	dir, err := filepath.Abs(bundles)
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "dist", "index.js"))
	}
	if err != nil {
		t.Fatalf("finding the bundled Worker, which `make .cache/stamps/workers` brings: %v", err)
	}
	hosts, authorities := filepath.Join(t.TempDir(), "hosts"), filepath.Join(t.TempDir(), "authorities.pem")
	text := "127.0.0.1 localhost\n"
	for name, address := range s.Hosts {
		text += address + " " + name + "\n"
	}
	if err := errors.Join(os.WriteFile(hosts, []byte(text), 0o644), os.WriteFile(authorities, []byte(s.Authorities), 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts,
		filepath.Join(dir, "bin", "node"), "runner.js")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+authorities, "WRANGLER_SEND_METRICS=false")
	return cmd
}

// ask has the Worker do something with a driver, and reads the answer. The error is a
// *problem where the application sees one.
func (w *worker) ask(ctx context.Context, driver, target, action, id string, answer any) error {
	address := w.url + strings.Join([]string{driver, target, action}, "/") + "?id=" + url.QueryEscape(id)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusOK {
		return json.Unmarshal(body, answer)
	}
	var failed struct{ Error *problem }
	if err := json.Unmarshal(body, &failed); err != nil || failed.Error == nil {
		return fmt.Errorf("the Worker answers with %s: %.500s", response.Status, body)
	}
	return failed.Error
}
