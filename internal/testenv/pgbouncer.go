// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// PgBouncerPath is where PgBouncer stands in its root file system.
const PgBouncerPath = "/usr/sbin/pgbouncer"

// PgBouncerServer is a running PgBouncer without a supervisor.
type PgBouncerServer struct {
	// Port is where clients connect, on the loopback addresses.
	Port  uint16
	Admin pgbouncer.Admin

	root, outside string
	paths         pgbouncer.Paths
	log           Buffer
	// end kills the process and waits for it.
	end func()
}

// PgBouncer runs PgBouncer with what is rendered until the test ends. Paths are
// the test's own.
func PgBouncer(t testing.TB, rendering pgbouncer.Rendering) *PgBouncerServer {
	t.Helper()
	root := Rootfs(t, "pgbouncer")
	outside, inside := RunDir(t, root)
	port := FreePort(t)
	server := &PgBouncerServer{
		Port:    port,
		Admin:   pgbouncer.Admin{SocketDir: inside, Port: port, Dial: DialInside(t, root)},
		root:    root,
		outside: outside,
		paths:   pgbouncer.Paths{RunDir: inside, ListenPort: port},
	}
	server.Write(t, rendering)
	server.start(t)
	t.Cleanup(func() { server.end() })
	return server
}

// Restart kills PgBouncer, and with it every connection, and starts it again at the
// same port.
func (s *PgBouncerServer) Restart(t testing.TB) {
	t.Helper()
	s.end()
	s.start(t)
}

func (s *PgBouncerServer) start(t testing.TB) {
	t.Helper()
	cmd := Command(t, s.root, PgBouncerPath, s.paths.Ini())
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting PgBouncer: %v", err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	s.end = func() { _ = cmd.Process.Kill(); <-exited }
	s.await(t, exited)
}

// Write replaces PgBouncer's files; Admin.Reload makes it read them.
func (s *PgBouncerServer) Write(t testing.TB, rendering pgbouncer.Rendering) {
	t.Helper()
	s.paths.CAFile = rendering.Paths.CAFile
	rendering.Paths = s.paths
	files, err := rendering.Files()
	if err != nil {
		t.Fatalf("rendering PgBouncer's files: %v", err)
	}
	for _, written := range files.InOrder(s.paths) {
		file := filepath.Join(s.outside, filepath.Base(written.Path))
		if err := os.WriteFile(file, written.Data, 0o600); err != nil {
			t.Fatalf("writing PgBouncer's files: %v", err)
		}
		if err := os.Chown(file, UserID, UserID); err != nil {
			t.Fatalf("writing PgBouncer's files: %v", err)
		}
	}
}

// Log is what PgBouncer has said so far.
func (s *PgBouncerServer) Log() string { return s.log.String() }

func (s *PgBouncerServer) await(t testing.TB, exited <-chan struct{}) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if _, err := s.Admin.Version(t.Context()); err == nil {
			return
		}
		select {
		case <-exited:
			t.Fatalf("PgBouncer ended:\n%s", s.Log())
		case <-deadline:
			t.Fatalf("PgBouncer does not answer:\n%s", s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// DialInside dials from inside a root file system as UserID, so that PgBouncer
// takes the caller for its own user. Its paths are those seen from inside.
func DialInside(t testing.TB, root string) func(ctx context.Context, network, address string) (net.Conn, error) {
	t.Helper()
	dialersMu.Lock()
	defer dialersMu.Unlock()
	requests, ok := dialers[root]
	if !ok {
		requests = make(chan dialRequest)
		started := make(chan error)
		go dialInside(root, requests, started)
		if err := <-started; err != nil {
			t.Fatalf("entering the root file system: %v", err)
		}
		dialers[root] = requests
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		answer := make(chan dialAnswer, 1)
		requests <- dialRequest{ctx, network, address, answer}
		a := <-answer
		return a.conn, a.err
	}
}

type dialRequest struct {
	ctx              context.Context
	network, address string
	answer           chan<- dialAnswer
}

type dialAnswer struct {
	conn net.Conn
	err  error
}

var (
	dialersMu sync.Mutex
	dialers   = map[string]chan dialRequest{}
)

// dialInside serves requests on a thread of its own, that alone lives in the root
// file system as UserID. The thread is never given back: it can not become what it
// was, and children started by it would die with it.
func dialInside(root string, requests <-chan dialRequest, started chan<- error) {
	err := enter(root)
	started <- err
	if err != nil {
		return
	}
	for r := range requests {
		conn, err := new(net.Dialer).DialContext(r.ctx, r.network, r.address)
		r.answer <- dialAnswer{conn, err}
	}
}
