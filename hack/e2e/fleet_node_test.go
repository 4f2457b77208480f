// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// nodeClients are clients of node-postgres, all in one process of Node.js on this
// machine. They check a connection before use; half of them verify the certificate.
type nodeClients struct {
	failed func(load.Failure)

	// served and renewed are as load.Steady has them.
	served, renewed atomic.Int64
	mu              sync.Mutex
	longest         time.Duration
}

// nodeTarget is what the process reads; durations are in milliseconds.
type nodeTarget struct {
	Host     string  `json:"host"`
	Port     int32   `json:"port"`
	User     string  `json:"user"`
	Password string  `json:"password"`
	Database string  `json:"database"`
	TLS      nodeTLS `json:"tls"`
	// Clients is an even number.
	Clients  int   `json:"clients"`
	Work     int64 `json:"work"`
	Rest     int64 `json:"rest"`
	Patience int64 `json:"patience"`
}

type nodeTLS struct {
	CA         string `json:"ca"`
	Servername string `json:"servername"`
}

// nodeNews is a line that the process writes.
type nodeNews struct {
	Served, Renewed, Longest int64
	Failed                   *struct {
		Doing, Error string
		From, Until  int64
	}
}

// serveNode runs 20 clients until the function it returns is called.
func (f *fleet) serveNode(t *testing.T) (clients *nodeClients, stop func()) {
	t.Helper()
	c := &nodeClients{failed: f.fails}
	cmd := nodeCommand(t)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(output) })
	// Its input's end is also the end of a process whose test has died.
	if err := json.NewEncoder(input).Encode(f.nodeTarget(t)); err != nil {
		t.Fatal(err)
	}
	return c, func() {
		_ = input.Close()
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the clients of node-postgres ended with %v: %s", err, problems.String())
		}
	}
}

// nodeCommand is the process, which is given nothing that is secret.
func nodeCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	modules := top(".cache/node-client/node_modules")
	program, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(modules)
	}
	if err != nil {
		t.Fatalf("finding Node.js and node-postgres, which `make .cache/stamps/node-client` brings: %v", err)
	}
	cmd := exec.Command(program, "testdata/node-client/clients.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	return cmd
}

// nodeTarget leads to the Service's address: its name is known in the cluster alone.
func (f *fleet) nodeTarget(t *testing.T) nodeTarget {
	t.Helper()
	secret := f.published(t, f.pool)
	host := string(secret.Data["host"])
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: strings.Split(host, ".")[0]}}
	f.get(t, service)
	return nodeTarget{
		Host: service.Spec.ClusterIP, Port: service.Spec.Ports[0].Port,
		User: string(secret.Data["username"]), Password: string(secret.Data["password"]), Database: string(secret.Data["database"]),
		TLS:     nodeTLS{CA: string(secret.Data["ca.crt"]), Servername: host},
		Clients: 20, Work: 50, Rest: 150, Patience: time.Minute.Milliseconds(),
	}
}

// read takes the process at its word until its output ends.
func (c *nodeClients) read(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var news nodeNews
		if err := json.Unmarshal(lines.Bytes(), &news); err != nil {
			c.fail("telling of itself", time.Now(), time.Now(), fmt.Errorf("reading %q: %w", lines.Text(), err))
			continue
		}
		if failed := news.Failed; failed != nil {
			c.fail(failed.Doing, time.UnixMilli(failed.From), time.UnixMilli(failed.Until), errors.New(failed.Error))
			continue
		}
		c.served.Store(news.Served)
		c.renewed.Store(news.Renewed)
		c.mu.Lock()
		c.longest = max(c.longest, time.Duration(news.Longest)*time.Millisecond)
		c.mu.Unlock()
	}
}

func (c *nodeClients) fail(doing string, from, until time.Time, err error) {
	c.failed(load.Failure{Client: "node-postgres", Doing: doing + ", with node-postgres", From: from, Until: until, Err: err})
}

// longestWait is as that of load.Steady.
func (c *nodeClients) longestWait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := c.longest
	c.longest = 0
	return longest
}
