// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cgroup gives a cluster its own place in every cgroup hierarchy of the
// machine, version 1 (also mixed with 2) or 2, and takes it away again. It never
// touches a cgroup that it was not asked to make.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// needed are the controllers a kubelet cannot do without.
var needed = []string{"cpu", "cpuset", "memory", "pids"}

// Hierarchy is one mounted cgroup tree.
type Hierarchy struct {
	Mount       string
	Unified     bool // version 2
	Controllers []string
}

// Hierarchies are all of a machine.
type Hierarchies []Hierarchy

// Find returns the hierarchies mounted in this mount namespace.
func Find() (Hierarchies, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("finding cgroups: %w", err)
	}
	found := parse(string(mounts))
	for i, h := range found {
		if !h.Unified {
			continue
		}
		list, err := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("finding cgroup controllers: %w", err)
		}
		found[i].Controllers = strings.Fields(string(list))
	}
	return found, nil
}

// parse reads mountinfo, proc_pid_mountinfo(5): "... MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE SUPEROPTIONS".
func parse(mountinfo string) Hierarchies {
	var found Hierarchies
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || !strings.HasPrefix(left[4], "/sys/fs/cgroup") {
			continue
		}
		switch right[0] {
		case "cgroup2":
			found = append(found, Hierarchy{Mount: left[4], Unified: true})
		case "cgroup":
			found = append(found, Hierarchy{Mount: left[4], Controllers: controllers(right[2])})
		}
	}
	return found
}

// controllers picks them out of a version 1 mount's options: "rw,cpu,cpuacct".
func controllers(options string) []string {
	return slices.DeleteFunc(strings.Split(options, ","), func(option string) bool {
		return option == "rw" || option == "ro" || option == "xattr" || option == "clone_children" || strings.Contains(option, "=")
	})
}

// Missing returns the controllers that the kubelet needs and nobody offers.
func (hs Hierarchies) Missing() []string {
	return slices.DeleteFunc(slices.Clone(needed), func(name string) bool {
		return slices.ContainsFunc(hs, func(h Hierarchy) bool { return slices.Contains(h.Controllers, name) })
	})
}

// Make makes the cgroup (a relative path) in every hierarchy, so that it can
// hold both limits and, at its leaves, processes.
func (hs Hierarchies) Make(cgroup string) error {
	for _, h := range hs {
		if err := h.make(cgroup); err != nil {
			return fmt.Errorf("making cgroup %s: %w", filepath.Join(h.Mount, cgroup), err)
		}
	}
	return nil
}

func (h Hierarchy) make(cgroup string) error {
	parent := h.Mount
	for part := range strings.SplitSeq(cgroup, "/") {
		if err := h.enable(parent); err != nil {
			return err
		}
		dir := filepath.Join(parent, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := h.inherit(parent, dir); err != nil {
			return err
		}
		parent = dir
	}
	return nil
}

// enable hands a version 2 cgroup's controllers on to its children.
func (h Hierarchy) enable(dir string) error {
	if !h.Unified || len(h.Controllers) == 0 {
		return nil
	}
	enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, name := range needed {
		if slices.Contains(strings.Fields(string(enabled)), name) || !slices.Contains(h.Controllers, name) {
			continue
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
		if err != nil {
			return fmt.Errorf("enabling the %s controller (a container must first move its processes from %s into a child cgroup): %w", name, dir, err)
		}
	}
	return nil
}

// inherit fills a version 1 cpuset, which starts empty and then takes no process.
func (h Hierarchy) inherit(parent, dir string) error {
	if h.Unified || !slices.Contains(h.Controllers, "cpuset") {
		return nil
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// Enter moves a process, with all its threads, into the cgroup.
func (hs Hierarchies) Enter(cgroup string, pid int) error {
	for _, h := range hs {
		path := filepath.Join(h.Mount, cgroup, "cgroup.procs")
		if err := os.WriteFile(path, fmt.Appendf(nil, "%d", pid), 0); err != nil {
			return fmt.Errorf("moving process %d into %s: %w", pid, path, err)
		}
	}
	return nil
}
