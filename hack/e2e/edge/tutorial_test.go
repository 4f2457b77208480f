// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tutorial is the page whose commands are run as they stand there.
const tutorial = top + "/docs/prisma-worker.md"

// packagesOf is the day whose packages npm installs, so that one that comes out later
// makes no difference here.
const packagesOf = "2026-11-20"

// visits is the model of the tutorial, which `prisma migrate` would make.
const visits = `create table "Visit" (id serial primary key, at timestamp(3) not null default now())`

// tutorial follows the page in an empty directory: what is marked with a star is left
// out, and `wrangler dev`, which goes on until it is ended, is asked what the page asks.
func (s *shop) tutorial(t *testing.T) {
	if err := s.run(t.Context(), s.published(t, "DIRECT_URL"), visits); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s.follow(t, dir, readTutorial(t, s.namespace))
	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Visit  struct{ ID int }
		Visits int
	}
	if err := json.Unmarshal(answer, &told); err != nil || told.Visit.ID != 1 || told.Visits != 1 {
		t.Errorf("the Worker answers %s", answer)
	}
}

// follow runs the script where the shop's names lead to its Services.
func (s *shop) follow(t *testing.T, dir, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := os.WriteFile(filepath.Join(dir, "gateway.crt"), []byte(s.authority), 0o644); err != nil {
		t.Fatal(err)
	}
	named := workerCommand(t, surroundings{Hosts: s.hosts(t, "private."+domain)})
	cmd := exec.CommandContext(ctx, named.Path, slices.Concat(named.Args[1:len(named.Args)-2], []string{"bash", "-c", script})...)
	cmd.Dir = dir
	path := []string{filepath.Join(named.Dir, "bin"), filepath.Dir(s.tools.Kubectl), os.Getenv("PATH")}
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(path, ":"), "XDG_CONFIG_HOME="+dir,
		"npm_config_before="+packagesOf, "npm_config_ignore_scripts=true", "npm_config_audit=false", "npm_config_fund=false",
		"CI=1", "CHECKPOINT_DISABLE=1", "WRANGLER_SEND_METRICS=false", "PRISMA_SCHEMA_ENGINE_BINARY=/bin/true")
	// What the script leaves running ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	said, err := cmd.CombinedOutput()
	awaitEnd(cmd.Process)
	if err != nil {
		t.Fatalf("following the page: %v\n%s", err, said)
	}
}

// awaitEnd waits for all of a process's group, which may still write into its directory.
func awaitEnd(leader *os.Process) {
	if leader == nil {
		return
	}
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(-leader.Pid, 0) == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(-leader.Pid, syscall.SIGKILL)
			return
		}
	}
}

// readTutorial makes a script of the page.
func readTutorial(t *testing.T, namespace string) string {
	t.Helper()
	page, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\ntrap 'trap \"\" TERM; kill 0' EXIT\n"
	for _, block := range strings.Split(string(page), "\n```sh\n")[1:] {
		commands, rest, _ := strings.Cut(block, "\n```\n")
		for line := range strings.Lines(commands + "\n") {
			script += step(line)
		}
		if _, worker, found := strings.Cut(rest, "\n```ts\n"); found {
			worker, _, _ = strings.Cut(worker, "\n```\n")
			script += "cat >src/index.ts <<'END'\n" + worker + "\nEND\n"
		}
	}
	return strings.ReplaceAll(script, "-n demo", "-n "+namespace)
}

// ask is what a browser would do.
const ask = `fetch("http://localhost:8787").then(async (r) => r.ok ? console.log(await r.text()) : process.exit(1), () => process.exit(1))`

// step is a line of the page as the script has it.
func step(line string) string {
	switch {
	case strings.Contains(line, "# *"):
		return ""
	case strings.TrimSpace(line) == "npx wrangler dev":
		return "NODE_EXTRA_CA_CERTS=../gateway.crt npx wrangler dev >dev.log 2>&1 &\n" +
			"until node -e '" + ask + "' >../answer; do kill -0 $! || { cat dev.log; exit 1; }; sleep 0.2; done\n"
	}
	return line
}
