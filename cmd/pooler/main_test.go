// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// TestTheProgramRunsWherePgBouncerDoes runs it as its image does: in PgBouncer's
// root file system, as a user without rights, with no hook of a test.
func TestTheProgramRunsWherePgBouncerDoes(t *testing.T) {
	root := testenv.Rootfs(t, "pgbouncer")
	outside, inside := testenv.RunDir(t, root)
	build := exec.Command("go", "build", "-o", filepath.Join(outside, "pooler"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	revision := lay(t, outside)
	status := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	cmd := testenv.Command(t, root, inside+"/pooler",
		"--config-dir", inside, "--pod-dir", inside, "--run-dir", inside, "--status-address", status,
		"--metrics-address", fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)),
		"--client-port", fmt.Sprint(testenv.FreePort(t)), "--drain-timeout", "2s", "--spread-time", "10ms")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	awaitReady(t, status, ended)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("on SIGTERM it ends with %v\n%s", err, &log)
	}
	if !strings.Contains(log.String(), `"config":"`+revision+`"`) || strings.Contains(log.String(), "s3cret") {
		t.Errorf("its log is\n%s", &log)
	}
}

// lay puts a configuration and a grant into a directory.
func lay(t *testing.T, dir string) (revision string) {
	t.Helper()
	data, revision, err := contract.Document{Version: contract.DocumentVersion, StatusKey: []byte("key"), PgBouncer: pgbouncer.Config{
		Server:               pgbouncer.Server{Host: "127.0.0.1", Port: 1, User: "u", Password: "s3cret", TLSMode: "disable"},
		Databases:            []pgbouncer.Database{{Name: "a", Database: "a"}},
		Mode:                 pgbouncer.ModeTransaction,
		MaxClientConnections: 10,
	}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		contract.ConfigKey: string(data), contract.UIDFile: "me",
		contract.GrantFile: contract.Grant{UID: "me", Gen: 1, Share: 2, Config: revision}.Encode(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return revision
}

func awaitReady(t *testing.T, address string, ended <-chan error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-deadline:
			t.Fatal("it does not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.ConfigDir != contract.ConfigDir || o.PodDir != contract.PodDir || o.RunDir != contract.RunDir ||
		o.ClientPort != contract.ClientPort || o.StatusAddress != ":9127" || o.MetricsAddress != ":9128" {
		t.Errorf("defaults are %+v, %v", o, err)
	}
	for _, args := range [][]string{{"--client-port", "0"}, {"--client-port", "70000"}, {"a-word"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
