// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

func TestAClusterTakesANumberThatNobodyHas(t *testing.T) {
	ownNetwork(t)
	state := t.TempDir()
	expectNumber(t, state, 1)

	if err := host.MakeBridge(plan.Cluster{Number: 1}, "/another/checkout"); err != nil {
		t.Fatal(err)
	}
	expectNumber(t, state, 2)

	if err := host.MakeBridge(plan.Cluster{Number: 2}, state); err != nil {
		t.Fatal(err)
	}
	expectNumber(t, state, 2) // Its own, of a start that did not come far.

	if err := host.RemoveBridge(plan.Cluster{Number: 1}); err != nil {
		t.Fatal(err)
	}
	expectNumber(t, state, 2) // Still, or nothing could stop it.
}

func TestAClusterKeepsItsNumber(t *testing.T) {
	ownNetwork(t)
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "cluster.json"), []byte(`{"number": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	expectNumber(t, state, 7)
}

func expectNumber(t *testing.T, state string, want int) {
	t.Helper()
	got, err := Choose(state)
	if err != nil {
		t.Fatal(err)
	}
	if got.Number != want {
		t.Errorf("the cluster is number %d, not %d", got.Number, want)
	}
}

// ownNetwork gives the test a network of its own. Its thread is never given
// back, so it ends with the test, and the network with it.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("making a network namespace, which needs root: %v", err)
	}
}
