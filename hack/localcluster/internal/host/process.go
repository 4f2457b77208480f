// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that can be recognised later: numbers are used again, but
// not with the same start in the same boot.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, proc_pid_stat(5) field 22
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

// Identify returns the process that has the number now.
func Identify(pid int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	state, start, err := parseStat(string(stat))
	if err == nil && state == "Z" {
		err = errors.New("it has ended")
	}
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// parseStat counts from the last parenthesis, for a command's name may hold anything.
func parseStat(stat string) (state string, start uint64, err error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	const first = 3 // The number of the first field after the name.
	if len(fields) <= 22-first {
		return "", 0, fmt.Errorf("reading %q: too few fields", stat)
	}
	start, err = strconv.ParseUint(fields[22-first], 10, 64)
	return fields[0], start, err
}

// Alive says whether this very process still runs.
func (p Process) Alive() bool {
	now, err := Identify(p.PID)
	return err == nil && p.PID > 0 && now == p
}

// Kill kills this very process, and nothing if it is gone.
func (p Process) Kill() error {
	if !p.Alive() {
		return nil
	}
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", p.PID, err)
	}
	return nil
}

// Lacks says whether the machine withholds a capability (by number) even from root.
func Lacks(capability uint) (bool, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, fmt.Errorf("reading capabilities: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return set&(1<<capability) == 0, err
		}
	}
	return false, fmt.Errorf("reading capabilities: %w", fs.ErrNotExist)
}
