// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// requestTimeout is for slow machines; nothing is judged by how long it took.
const requestTimeout = 2 * time.Minute

// program is a script of the corpus that runs in Node.js, in a directory that
// hack/accelerate.sh made.
type program struct {
	// Directory is of one of Prisma's versions, Script what runs there.
	Directory, Script string
	// Environment is added to the test's, Told its first line of input, as JSON.
	Environment []string
	Told        any
	// Hosts are names that lead to the loopback address.
	Hosts []string
}

// start runs the program until the test is over, and returns the URL that it says it
// listens at.
func (p program) start(t *testing.T) string {
	t.Helper()
	address, _ := testenv.Listening(t, p.Script, p.command(t), p.Told)
	return address
}

// command has a mount namespace of its own, with another /etc/hosts.
func (p program) command(t *testing.T) *exec.Cmd {
	t.Helper()
	hosts, text := filepath.Join(t.TempDir(), "hosts"), "127.0.0.1 localhost"
	for _, name := range p.Hosts {
		text += " " + name
	}
	if err := os.WriteFile(hosts, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts,
		filepath.Join(p.Directory, "bin", "node"), p.Script)
	cmd.Dir = p.Directory
	cmd.Env = append(os.Environ(), p.Environment...)
	return cmd
}

// runner is a program that runs cases.
type runner struct {
	url    string
	client *http.Client
}

func runnerAt(url string) runner {
	// A kept connection may be closed while a request is on its way over it.
	return runner{url, &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// names are the cases that it has, in their order.
func (r runner) names(ctx context.Context) (names []string, err error) {
	body, err := r.ask(ctx, http.MethodGet, "")
	if err == nil {
		err = json.Unmarshal(body, &names)
	}
	return names, err
}

// run returns what a case comes to, as indented JSON.
func (r runner) run(ctx context.Context, name string) (string, error) {
	body, err := r.ask(ctx, http.MethodPost, url.PathEscape(name))
	if err != nil {
		return "", err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", " "); err != nil {
		return "", fmt.Errorf("reading what %q comes to: %w", name, err)
	}
	return indented.String(), nil
}

func (r runner) ask(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s answers with %s: %.2000s", method, path, response.Status, body)
	}
	return body, err
}
