// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Processes returns who is in the cgroup or below it, in any hierarchy.
func (hs Hierarchies) Processes(cgroup string) ([]int, error) {
	seen := map[int]bool{}
	for _, dir := range hs.tree(cgroup) {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // Removed while we were looking.
		}
		if err != nil {
			return nil, fmt.Errorf("reading the processes of %s: %w", dir, err)
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				seen[pid] = true
			}
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// tree returns the directories of a cgroup and all below it, parents first.
func (hs Hierarchies) tree(cgroup string) []string {
	var dirs []string
	for _, h := range hs {
		// An error means that the directory has just gone.
		_ = filepath.WalkDir(filepath.Join(h.Mount, cgroup), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs
}

// Exists says whether any hierarchy has the cgroup.
func (hs Hierarchies) Exists(cgroup string) bool { return len(hs.tree(cgroup)) > 0 }

// Remove kills every process in the cgroup and removes it with all below it.
// It gives up when that takes longer than patience.
func (hs Hierarchies) Remove(cgroup string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		pids, err := hs.Processes(cgroup)
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("killing process %d of cgroup %s: %w", pid, cgroup, err)
			}
		}
		left := hs.tree(cgroup)
		slices.Reverse(left)
		for _, dir := range left {
			_ = os.Remove(dir) // Busy until its processes are gone: the next round tries again.
		}
		if !hs.Exists(cgroup) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("removing cgroup %s: still busy after %s, processes %v", cgroup, patience, pids)
		}
	}
}
