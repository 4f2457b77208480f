// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	role, password = "app", "app-of-a-benchmark"
	share          = 16
	clients        = 32
	rounds         = 9
	roundSeconds   = 4
)

// TestOurPodAgainstPgBouncerByHand: transactions a second, and processor time for
// each, through a pod's first process and through the same PgBouncer by itself.
func TestOurPodAgainstPgBouncerByHand(t *testing.T) {
	server := testenv.Postgres(t, map[string]string{"max_connections": "100"})
	server.Exec(t, "create role "+role+" login password '"+password+"'", "create database shop owner "+role)
	bench(t, server.Port, testenv.SuperuserName, testenv.SuperuserPassword, "shop", "--initialize", "--quiet")
	server.Exec(t, "grant pg_read_all_data to "+role)

	cfg := configuration(server)
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 8})
	pod := startPod(t, cfg)
	cfg.ConnectQuery = ""
	limits, err := pgbouncer.Split(cfg.Databases, share)
	if err != nil {
		t.Fatal(err)
	}
	bare := testenv.PgBouncer(t, pgbouncer.Rendering{Config: cfg, Limits: limits})
	warm(t, pod.port)
	warm(t, bare.Port)
	bareProcess := listener(t, bare.Port)

	var speed, cost pairs
	for turn := range rounds {
		var ours, theirs, ourCPU, theirCPU float64
		measureOurs := func() { ours, ourCPU = load(t, pod.port, pod.pid, listener(t, pod.port)) }
		measureTheirs := func() { theirs, theirCPU = load(t, bare.Port, bareProcess) }
		inTurns(turn, measureOurs, measureTheirs)
		speed.add(ours, theirs)
		cost.add(ourCPU, theirCPU)
	}
	out := newTable("Through our pod, against the same PgBouncer by hand",
		"\tour pod\tby hand\tratio, median\tsmallest to largest\tturns")
	out.compare("transactions", "/s", speed)
	out.compare("processor time for each", "µs", cost)
	_ = out.Flush()
}

func configuration(server *testenv.PostgresServer) pgbouncer.Config {
	return pgbouncer.Config{
		Server:               pgbouncer.Server{Host: server.Host, Port: server.Port, User: role, Password: password, TLSMode: "disable"},
		Databases:            []pgbouncer.Database{{Name: "shop", Database: "shop"}},
		Mode:                 pgbouncer.ModeTransaction,
		Users:                []pgbouncer.User{{Name: role, Password: password}},
		MaxClientConnections: 1000,
	}
}

// aPod is cmd/pooler as it runs in a container, in a root file system with PgBouncer.
type aPod struct {
	port uint16
	pid  int
}

func startPod(t *testing.T, cfg pgbouncer.Config) aPod {
	t.Helper()
	root := testenv.Rootfs(t, "pgbouncer")
	outside, inside := testenv.RunDir(t, root)
	build := exec.Command("go", "build", "-o", filepath.Join(outside, "pooler"), "github.com/poolfleet/poolfleet/cmd/pooler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the pooler: %v\n%s", err, output)
	}
	data, revision, err := contract.Document{
		Version: contract.DocumentVersion, StatusKey: []byte("a key of thirty-two bytes length"), PgBouncer: cfg,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	grant := contract.Grant{UID: "pod", Gen: 1, Share: share, Config: revision}.Encode()
	for name, content := range map[string]string{"config/" + contract.ConfigKey: string(data), "pod/" + contract.UIDFile: "pod", "pod/" + contract.GrantFile: grant} {
		write(t, filepath.Join(outside, name), content)
	}
	if err := os.MkdirAll(filepath.Join(outside, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(outside, "run"), testenv.UserID, testenv.UserID); err != nil {
		t.Fatal(err)
	}
	pod := aPod{port: testenv.FreePort(t)}
	cmd := testenv.Command(t, root, inside+"/pooler", "--config-dir="+inside+"/config", "--pod-dir="+inside+"/pod",
		"--run-dir="+inside+"/run", fmt.Sprintf("--client-port=%d", pod.port), fmt.Sprintf("--status-address=127.0.0.1:%d", testenv.FreePort(t)),
		fmt.Sprintf("--metrics-address=127.0.0.1:%d", testenv.FreePort(t)))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pod.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(listener(t, pod.port), syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return pod
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// warm waits until a query passes.
func warm(t *testing.T, port uint16) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgresql://%s:%s@127.0.0.1:%d/shop?sslmode=disable", role, password, port))
		if err == nil {
			_ = conn.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing passes through port %d: %v", port, err)
		}
	}
}

// listener is the process that listens at a port of all addresses.
func listener(t *testing.T, port uint16) int {
	t.Helper()
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sockets)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			return holder(t, "socket:["+fields[9]+"]")
		}
	}
	t.Fatalf("nothing listens at port %d", port)
	return 0
}

func holder(t *testing.T, socket string) int {
	t.Helper()
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	t.Fatalf("nobody holds %s", socket)
	return 0
}

// load runs pgbench for a round, and returns transactions a second and the
// microseconds of processor time that the processes spent on each.
func load(t *testing.T, port uint16, processes ...int) (perSecond, micros float64) {
	t.Helper()
	before := spent(t, processes)
	output := bench(t, port, role, password, "shop", "--select-only", "--no-vacuum", fmt.Sprintf("--client=%d", clients), fmt.Sprintf("--time=%d", roundSeconds))
	used := spent(t, processes) - before
	count := find(t, output, `number of transactions actually processed: (\d+)`)
	return find(t, output, `tps = ([\d.]+)`), float64(used.Microseconds()) / count
}

func bench(t *testing.T, port uint16, user, password, database string, args ...string) string {
	t.Helper()
	args = append([]string{"--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--username=" + user}, args...)
	cmd := testenv.Command(t, testenv.Rootfs(t, "postgres"), "/usr/bin/pgbench", append(args, database)...)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pgbench: %v\n%s", err, output)
	}
	return string(output)
}

func find(t *testing.T, text, pattern string) float64 {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// spent is the processor time of some processes.
func spent(t *testing.T, processes []int) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range processes {
		own, _, err := times(pid)
		if err != nil {
			t.Fatal(err)
		}
		sum += own
	}
	return sum
}

// families is the processor time of each process with its children, those that have
// ended among them.
func families(t *testing.T, processes []int) []time.Duration {
	t.Helper()
	sums := make([]time.Duration, 0, len(processes))
	for _, pid := range processes {
		own, ended, err := times(pid)
		if err != nil {
			t.Fatal(err)
		}
		sum := own + ended
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			t.Fatal(err)
		}
		for child := range strings.FieldsSeq(string(children)) {
			if number, err := strconv.Atoi(child); err == nil && pid != os.Getpid() { // This one's have columns of their own.
				own, ended, _ := times(number) // Who has just ended is small.
				sum += own + ended
			}
		}
		sums = append(sums, sum)
	}
	return sums
}

// times are a process's own processor time, and that of its children that have ended.
// Source: proc(5), /proc/pid/stat, in ticks of a hundredth of a second.
func times(pid int) (own, ended time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var ticks [4]int64
	for i, field := range strings.Fields(rest)[11:15] {
		if ticks[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return 0, 0, err
		}
	}
	const tick = 10 * time.Millisecond
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick, nil
}
