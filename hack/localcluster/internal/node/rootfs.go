// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
)

// devices are those a node needs; a pod's own are made by runc.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg"}

// sysctls are what the kubelet would set, and they belong to the whole machine.
// It sees these values in their place and leaves the machine as it is
// (k8s.io/component-helpers/node/util/sysctl; setupKernelTunables in pkg/kubelet/cm).
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// enterRoot makes the node's own file system tree and leaves the host's behind.
// Whatever is written outside the kept directories is in memory and ends with the node.
func enterRoot(spec Spec) error {
	root, err := overlay(spec)
	if err != nil {
		return fmt.Errorf("building the root file system: %w", err)
	}
	steps := []func(string) error{mountKernel, mountDevices, shadowSysctls, spec.bindKept, spec.writeEtc, pivot}
	for _, step := range steps {
		if err := step(root); err != nil {
			return fmt.Errorf("building the root file system: %w", err)
		}
	}
	return nil
}

// overlay puts a tmpfs over the packages. The paths are relative to the working
// directory, for in a mount's options a colon or comma has a meaning.
func overlay(spec Spec) (string, error) {
	base := spec.sub("mnt")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("making mounts private: %w", err)
	}
	if err := mount("tmpfs", base, "tmpfs", 0, "mode=0755"); err != nil {
		return "", err
	}
	if err := os.Chdir(base); err != nil {
		return "", err
	}
	for _, dir := range []string{"lower", "upper", "work", "root"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	if err := mount(spec.Root, "lower", "", unix.MS_BIND, ""); err != nil {
		return "", err
	}
	if err := mount("overlay", "root", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work"); err != nil {
		return "", err
	}
	return filepath.Join(base, "root"), nil
}

func mountKernel(root string) error {
	mounts := []struct{ kind, at, options string }{
		{"proc", "proc", ""},
		{"sysfs", "sys", ""},
		{"tmpfs", "run", "mode=0755"},
		{"tmpfs", "tmp", "mode=1777"},
		{"tmpfs", "dev", "mode=0755"},
		{"devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620"},
		{"tmpfs", "dev/shm", "mode=1777"},
		{"mqueue", "dev/mqueue", ""},
	}
	for _, m := range mounts {
		at := filepath.Join(root, m.at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := mount(m.kind, at, m.kind, unix.MS_NOSUID, m.options); err != nil {
			return err
		}
	}
	return mount("/sys/fs/cgroup", filepath.Join(root, "sys/fs/cgroup"), "", unix.MS_BIND|unix.MS_REC, "")
}

func mountDevices(root string) error {
	for _, name := range devices {
		if err := bindFile("/dev/"+name, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	links := map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	return nil
}

func shadowSysctls(root string) error {
	for name, value := range sysctls {
		file := filepath.Join(root, "run", "sysctl-"+strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, filepath.Join(root, "proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) bindKept(root string) error {
	for from, to := range s.binds() {
		at := filepath.Join(root, to)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := mount(from, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return bindFile(s.Kube, filepath.Join(root, config.Kube))
}

// writeEtc fills in what no package brings.
func (s Spec) writeEtc(root string) error {
	files := map[string]string{
		"hostname":    s.Node.Name + "\n",
		"hosts":       fmt.Sprintf("127.0.0.1 localhost\n%s %s\n%s %s\n", s.Node.IP, s.Node.Name, s.Cluster.HostIP(), config.HostName),
		"resolv.conf": fmt.Sprintf("nameserver %s\n", s.Cluster.DNS()),
		"os-release":  "ID=debian\nPRETTY_NAME=\"Debian packages (localcluster)\"\n",
		"machine-id":  fmt.Sprintf("%016x%016x\n", s.Cluster.Number, s.Node.Index+1),
		// Without it nft lists numbers for these names. Once an hour kube-proxy reads its
		// own rules back, and would remove them all for having other names.
		"protocols": "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nsctp 132 SCTP\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes root the root. Mounts are shared from here on, as a kubelet's
// mount propagation needs it, but only among the node's own namespaces.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// Both arguments the same: the old root ends up on top of the new one,
	// from where it is taken off. See pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivoting to %s: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source, target, err)
	}
	return nil
}

func bindFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, nil, 0o644); err != nil {
		return err
	}
	return mount(from, to, "", unix.MS_BIND, "")
}
