// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// fault is something that breaks, and what is measured of it.
type fault struct {
	name string
	// cuts says that queries in flight, and idle connections, may be lost with it.
	cuts bool
	do   func(*testing.T)
}

// TestFaults breaks each part of a pool and of what it stands on, under the same 80
// clients as TestFleet, and tells what they notice: the table of docs/faults.md.
func TestFaults(t *testing.T) {
	w := connect(t)
	w.install(t)
	f := w.fleet(t)
	stop := f.serve(t)
	defer stop()
	rows := faultHead()
	for _, fault := range f.faults() {
		t.Run(fault.name, func(t *testing.T) { rows = append(rows, f.suffers(t, fault)) })
	}
	stop()
	t.Log("\n" + strings.Join(rows, "\n"))
	f.remove(t, f.pool)
	if err := f.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// faultHead is how a table of faults begins.
func faultHead() []string {
	return []string{"| fault | clients' queries that failed | longest wait of a client, s | until all is well, s |", "|---|---|---|---|"}
}

func (f *fleet) faults() []fault {
	return []fault{
		{"PgBouncer is killed", true, func(t *testing.T) { t.Helper(); kill(t, f.busiest(t), "pgbouncer") }},
		{"the pooler is killed, and PgBouncer with it", true, func(t *testing.T) { t.Helper(); kill(t, f.busiest(t), "pooler") }},
		{"PgBouncer is wedged (SIGSTOP)", true, f.wedges},
		{"the pod's memory volume is full while its configuration changes", false, f.fillsDisk},
		{"the manager is down for 30 s, and a pooler's pod is deleted meanwhile", false, f.losesManager},
		{"the API server hangs for 30 s", false, losesAPIServer},
		{"PostgreSQL restarts without a pause", true, f.losesServer},
	}
}

// suffers measures a fault and checks that all is well afterwards.
func (f *fleet) suffers(t *testing.T, fault fault) string {
	t.Helper()
	f.awaitQueries(t)
	f.longestWait()
	before, began := f.tally(), time.Now()
	fault.do(t)
	f.awaitWell(t)
	took := time.Since(began)
	f.awaitQueries(t)
	failed := f.tally().failed - before.failed
	longest := f.longestWait()
	if failed > 0 && !fault.cuts {
		t.Errorf("%d queries failed", failed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := map[string]int{}
	for _, failure := range f.failures[before.failed:] {
		kinds[failure.Doing+": "+failure.Err.Error()]++
	}
	for kind, times := range kinds {
		t.Logf("%d times %s", times, kind)
	}
	return fmt.Sprintf("| %s | %d | %.1f | %.1f |", fault.name, failed, longest.Seconds(), took.Seconds())
}

// awaitWell waits until the pool is Ready and each pooler answers.
func (f *fleet) awaitWell(t *testing.T) {
	t.Helper()
	f.awaitReady(t, f.pool)
	eventually(t, "three poolers are ready", func() error {
		if ready := len(f.readyPods(t)); ready != 3 {
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
}

// wedges stops a PgBouncer without ending it, until it is replaced.
func (f *fleet) wedges(t *testing.T) {
	t.Helper()
	pod := f.busiest(t)
	pids := processes(t, pod, "pgbouncer")
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the wedged PgBouncer is gone", func() error {
		for _, pid := range processes(t, pod, "pgbouncer") {
			if slices.Contains(pids, pid) {
				return fmt.Errorf("process %d is there", pid)
			}
		}
		return nil
	})
}

// named is the processes of a component of the local cluster: they are all one program.
func named(t *testing.T, component string) []int {
	t.Helper()
	return processesOf(t, func(dir string) bool { return strings.HasPrefix(cmdline(dir), component+"\x00") })
}

// losesAPIServer has the API server hang.
func losesAPIServer(t *testing.T) {
	t.Helper()
	pids := named(t, "kube-apiserver")
	if len(pids) != 1 {
		t.Fatalf("%d API servers run on this machine, want that of the local cluster alone", len(pids))
	}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	if err := syscall.Kill(pids[0], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// losesServer restarts PostgreSQL and waits until it is back.
func (f *fleet) losesServer(t *testing.T) {
	t.Helper()
	if err := f.server.Restart(t.Context(), f.tools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server answers", func() error {
		_, err := f.query(t.Context(), f.server.AdminURL(), "select 1")
		return err
	})
}

// poolerRoot is the file system of a pooler's container, seen from this machine.
func poolerRoot(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	pids := processes(t, pod, "pooler")
	if len(pids) == 0 {
		t.Fatalf("pod %s runs no pooler on this machine", pod.Name)
	}
	return fmt.Sprintf("/proc/%d/root", pids[0])
}
