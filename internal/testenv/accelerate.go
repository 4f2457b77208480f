// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Sidecar is a running cmd/accelerate-legacy.
type Sidecar struct {
	// Socket is where it listens.
	Socket string

	log     Buffer
	process *os.Process
	exited  chan struct{}
}

// AccelerateLegacy runs cmd/accelerate-legacy, with further arguments, until the test
// ends, in the root file system that its image has.
func AccelerateLegacy(t testing.TB, args ...string) *Sidecar {
	t.Helper()
	root := Rootfs(t, "nodejs")
	app := filepath.Join(filepath.Dir(root), "accelerate-legacy", "app")
	if _, err := os.Stat(filepath.Join(app, "node_modules")); err != nil {
		t.Fatalf("the sidecar is not in %s: `make .cache/stamps/accelerate-legacy` brings it", app)
	}
	outside, inside := RunDir(t, root)
	if output, err := exec.CommandContext(t.Context(), "cp", "-r", app, filepath.Join(outside, "app")).CombinedOutput(); err != nil {
		t.Fatalf("copying the sidecar: %v\n%s", err, output)
	}
	s := &Sidecar{Socket: filepath.Join(outside, "s"), exited: make(chan struct{})}
	cmd := Command(t, root, "/usr/bin/node", append([]string{inside + "/app/main.js", "--socket=" + inside + "/s", "--health-port=0"}, args...)...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the sidecar: %v", err)
	}
	s.process = cmd.Process
	go func() { _ = cmd.Wait(); close(s.exited) }()
	t.Cleanup(func() {
		s.Stop(t)
		if said := s.Log(); said != "" {
			t.Errorf("the sidecar has said:\n%s", said)
		}
	})
	s.await(t)
	return s
}

// Log is what the sidecar has said; it says nothing while all is well.
func (s *Sidecar) Log() string { return s.log.String() }

// Stop ends the sidecar as Kubernetes does, and waits for it.
func (s *Sidecar) Stop(t testing.TB) {
	t.Helper()
	_ = s.process.Signal(syscall.SIGTERM) // It may have ended.
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.process.Kill()
		t.Errorf("the sidecar does not end:\n%s", s.Log())
	}
}

func (s *Sidecar) await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", s.Socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("the sidecar ended:\n%s", s.Log())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sidecar does not listen: %v\n%s", err, s.Log())
		}
	}
}
