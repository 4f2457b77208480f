// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

const checkout = "../../.."

// testCluster is a cluster of its own number and state.
type testCluster struct {
	plan.Cluster
	state string
}

func newCluster(t *testing.T, number int) testCluster {
	t.Helper()
	c, err := plan.New(number)
	if err != nil {
		t.Fatal(err)
	}
	tc := testCluster{Cluster: c, state: filepath.Join(t.TempDir(), "cluster")}
	t.Cleanup(func() {
		if t.Failed() {
			output, _ := tc.command("status").CombinedOutput()
			t.Logf("%s", output)
		}
		if output, err := tc.command("down", "--purge").CombinedOutput(); err != nil {
			t.Errorf("cleaning up: %v\n%s", err, output)
		}
	})
	return tc
}

func (c testCluster) command(name string, args ...string) *exec.Cmd {
	flags := []string{name, "--number", fmt.Sprint(c.Number), "--state", c.state}
	cmd := exec.Command(".cache/bin/localcluster", append(flags, args...)...)
	cmd.Dir = checkout
	return cmd
}

// do runs localcluster and tells how long it took.
func (c testCluster) do(t *testing.T, name string, args ...string) {
	t.Helper()
	began := time.Now()
	output, err := c.command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("localcluster %s %v: %v\n%s", name, args, err, output)
	}
	t.Logf("%s %v took %.1f s", name, args, time.Since(began).Seconds())
}

// try runs kubectl and returns what it prints.
func (c testCluster) try(input string, args ...string) (string, error) {
	cmd := exec.Command(".cache/bin/localkube", append([]string{"kubectl", "--kubeconfig", filepath.Join(c.state, "kubeconfig")}, args...)...)
	cmd.Dir = checkout
	cmd.Stdin = strings.NewReader(input)
	var output, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %v: %w: %s", args, err, problem.String())
	}
	return output.String(), nil
}

func (c testCluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := c.try("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

func (c testCluster) apply(t *testing.T, manifest string) {
	t.Helper()
	if _, err := c.try(manifest, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// eventually repeats what needs time, and fails with its last error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// traces lists what the kernel knows of the cluster, seen from the host.
func (c testCluster) traces(t *testing.T) []string {
	t.Helper()
	var found []string
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Name == c.Bridge() || strings.HasPrefix(link.Name, c.Bridge()+"n") {
			found = append(found, "link "+link.Name)
		}
	}
	routes := readFile(t, "/proc/net/route")
	if network := c.Network().Addr().As4(); strings.Contains(routes, fmt.Sprintf("%02X0A\t", network[1])) {
		found = append(found, "a route")
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		dirs, err := filepath.Glob(pattern + c.Cgroup())
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return append(found, c.processes(t)...)
}

// processes finds those that have a mount from the cluster's state, wherever
// they moved themselves.
func (c testCluster) processes(t *testing.T) []string {
	t.Helper()
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, table := range tables {
		content, err := os.ReadFile(table)
		if err == nil && strings.Contains(string(content), c.state+"/") {
			found = append(found, "process "+table)
		}
	}
	return found
}

// machine is what must be the same before and after, cluster or not.
func machine(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, name := range []string{
		"/proc/self/mountinfo", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory",
		"/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops", "/proc/sys/kernel/keys/root_maxkeys",
		"/proc/sys/kernel/keys/root_maxbytes", "/proc/sys/vm/panic_on_oom",
	} {
		state[name] = readFile(t, name)
	}
	for _, dir := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/var/lib/cni", "/run/netns", "/etc/cni", "/etc/kubernetes"} {
		_, err := os.Stat(dir)
		state[dir] = fmt.Sprint(err)
	}
	return state
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
