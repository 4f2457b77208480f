// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//nolint:dupword // The kernel writes it so: type and source of a mount are often the same word.
const hybrid = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
35 22 0:29 / /elsewhere/cgroup rw,relatime - cgroup cgroup rw,memory
`

func TestHybridMountsAreFoundWithTheirControllers(t *testing.T) {
	want := Hierarchies{
		{Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}},
		{Mount: "/sys/fs/cgroup/cpuset", Controllers: []string{"cpuset"}},
		{Mount: "/sys/fs/cgroup/systemd", Controllers: []string{}},
		{Mount: "/sys/fs/cgroup/unified", Unified: true},
	}
	if diff := cmp.Diff(want, parse(hybrid)); diff != "" {
		t.Error(diff)
	}
}

func TestPureVersionTwoIsFoundAtTheTop(t *testing.T) {
	//nolint:dupword // As above.
	got := parse("30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n")
	if diff := cmp.Diff(Hierarchies{{Mount: "/sys/fs/cgroup", Unified: true}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMissingNamesTheControllersNobodyOffers(t *testing.T) {
	if diff := cmp.Diff([]string{"memory", "pids"}, parse(hybrid).Missing()); diff != "" {
		t.Error(diff)
	}
}

// The kernel's files are stood in for by plain ones: this shows what is
// written where, not that a kernel takes it.
func TestVersionTwoHandsItsControllersDownEveryLevel(t *testing.T) {
	root := t.TempDir()
	control := filepath.Join(root, "cgroup.subtree_control")
	h := Hierarchy{Mount: root, Unified: true, Controllers: []string{"cpu", "io"}}
	if err := os.WriteFile(control, []byte("memory"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.make("cluster"); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(written); !strings.HasPrefix(got, "+cpu") {
		t.Errorf("subtree_control got %q, want +cpu and nothing the kubelet does not need", got)
	}
	if err := h.enable(root + "/cluster"); err == nil {
		t.Error("a cgroup without subtree_control passed for one that hands controllers on")
	}
}
