// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// processesOf are the processes whose directory under /proc is found right.
func processesOf(t *testing.T, right func(dir string) bool) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && right(dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func cmdline(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "" // It has ended.
	}
	return string(data)
}

// busiest is the pooler with the most clients: after a fault they stay with the others.
func (f *fleet) busiest(t *testing.T) corev1.Pod {
	t.Helper()
	return slices.MaxFunc(f.readyPods(t), func(a, b corev1.Pod) int { return cmp.Compare(clients(t, a), clients(t, b)) })
}

// clients counts a pooler's connections, by its own network's table. Source: proc(5),
// /proc/net/tcp.
func clients(t *testing.T, pod corev1.Pod) int {
	t.Helper()
	count := 0
	for _, pid := range processes(t, pod, "pgbouncer") {
		for _, table := range []string{"tcp", "tcp6"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
			if err != nil {
				continue // It has ended.
			}
			count += len(established.FindAll(data, -1))
		}
	}
	return count
}

// established matches a connection to the clients' port, 5432, in state ESTABLISHED.
var established = regexp.MustCompile(`(?m)^ *\d+: [0-9A-F]+:1538 [0-9A-F]+:[0-9A-F]{4} 01 `)

// fillsDisk leaves a pooler no room for new files, while it is told to change them,
// and then gives the room back.
func (f *fleet) fillsDisk(t *testing.T) {
	t.Helper()
	giveBack := fill(t, filepath.Join(poolerRoot(t, f.busiest(t)), contract.RunDir, "fill"))
	defer giveBack()
	f.change(t, f.pool, func() { f.pool.Spec.Clients.MaxConnections = 4500 })
	said := f.awaitCondition(t, f.pool, poolv1.ConditionConfigApplied, metav1.ConditionFalse, poolv1.ReasonRejected)
	if !strings.Contains(said.Message, syscall.ENOSPC.Error()) {
		t.Errorf("the pool says %q, want that there is no space left", said.Message)
	}
	time.Sleep(5 * time.Second) // Clients go on.
	giveBack()
	f.awaitApplied(t)
}

// fill writes to a new file until its volume is full, and keeps it so whatever the
// pooler removes, until giveBack is called.
func fill(t *testing.T, name string) (giveBack func()) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	full := func() error {
		for zeros := make([]byte, 4096); ; {
			if _, err := file.Write(zeros); err != nil {
				return err
			}
		}
	}
	if err := full(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the volume ended with %v, want that it is full", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var filling sync.WaitGroup
	filling.Go(func() {
		for ctx.Err() == nil {
			_ = full() // That there is no room is what it is for.
			time.Sleep(5 * time.Millisecond)
		}
	})
	return sync.OnceFunc(func() {
		stop()
		filling.Wait()
		if err := errors.Join(file.Close(), os.Remove(name)); err != nil {
			t.Error(err)
		}
	})
}

// losesManager has nobody there who grants, and a pooler replaced meanwhile: the new
// one waits for a grant.
func (f *fleet) losesManager(t *testing.T) {
	t.Helper()
	f.manage(t, 0)
	pod := f.busiest(t)
	f.delete(t, &pod)
	f.awaitGone(t, map[types.UID]int32{pod.UID: 0})
	time.Sleep(20 * time.Second)
	if ready := len(f.readyPods(t)); ready != 2 {
		t.Errorf("%d poolers are ready without anyone to grant, want the 2 that were there", ready)
	}
	f.manage(t, 1)
}

// manage sets how many managers run.
func (f *fleet) manage(t *testing.T, replicas int32) {
	t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: install.Manager}}
	f.change(t, deployment, func() { deployment.Spec.Replicas = &replicas })
	eventually(t, "the managers have come or gone", func() error {
		f.get(t, deployment)
		if deployment.Status.ReadyReplicas != replicas || deployment.Status.Replicas != replicas {
			return errors.New("they have not")
		}
		return nil
	})
}
