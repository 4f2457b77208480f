// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/cgroup"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
)

// fromPackages are the programs a node needs out of its root.
var fromPackages = []string{
	"usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/sbin/runc", "usr/sbin/nft",
	"usr/bin/mount", "usr/bin/umount", "usr/lib/cni/bridge", "usr/lib/cni/host-local",
	"usr/lib/cni/loopback", "usr/lib/cni/portmap",
}

// check says everything that keeps a cluster from running here, in plain words.
func (o Options) check(groups cgroup.Hierarchies) error {
	if runtime.GOOS != "linux" {
		return errors.New("the local cluster runs on Linux only")
	}
	if os.Geteuid() != 0 {
		return errors.New("the local cluster needs root: it makes namespaces, mounts and links")
	}
	return errors.Join(o.checkFiles(), o.checkKernel(groups), o.checkNetwork())
}

func (o Options) checkFiles() error {
	var missing []error
	if !executable(o.Kube) {
		missing = append(missing, fmt.Errorf("%s is missing: make cluster-up builds it", o.Kube))
	}
	absent := slices.DeleteFunc(slices.Clone(fromPackages), func(name string) bool {
		return executable(filepath.Join(o.NodeRoot, name))
	})
	if len(absent) > 0 {
		missing = append(missing, fmt.Errorf("the nodes' root %s lacks %s: make cluster-up fetches its packages", o.NodeRoot, strings.Join(absent, ", ")))
	}
	if _, err := os.Stat(o.Pause); err != nil {
		missing = append(missing, fmt.Errorf("the pause image %s is missing: make cluster-up builds it", o.Pause))
	}
	return errors.Join(missing...)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func (o Options) checkKernel(groups cgroup.Hierarchies) error {
	var found []error
	if missing := groups.Missing(); len(missing) > 0 {
		found = append(found, fmt.Errorf("no cgroup hierarchy offers %s", strings.Join(missing, ", ")))
	}
	kinds, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("looking for overlayfs: %w", err)
	}
	if !strings.Contains(string(kinds), "\toverlay\n") {
		found = append(found, errors.New("this kernel has no overlayfs: modprobe overlay, if it is a module"))
	}
	if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
		found = append(found, errors.New("this kernel does not filter bridges: modprobe br_netfilter, if it is a module"))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(o.State, &fs); err == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		found = append(found, fmt.Errorf("%s is itself on overlayfs, where containerd cannot put layers: give --state a directory on a disk", o.State))
	}
	return errors.Join(found...)
}

func (o Options) checkNetwork() error {
	owner, exists, err := host.Owner(o.Cluster)
	if err != nil {
		return err
	}
	if exists && owner != o.State {
		return fmt.Errorf("cluster number %d belongs to %s: choose another --number", o.Cluster.Number, owner)
	}
	conflicts, err := host.Conflicts(o.Cluster)
	if err != nil {
		return err
	}
	if len(conflicts) > 0 {
		return fmt.Errorf("this machine already routes %s, inside the cluster's %s: choose another --number",
			strings.Join(conflicts, ", "), o.Cluster.Network())
	}
	return nil
}
