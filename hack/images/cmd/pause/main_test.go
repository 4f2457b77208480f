// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestOrphansAreReaped(t *testing.T) {
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for reapable := true; reapable && time.Now().Before(deadline); {
		reap()
		// Signal 0 tells whether the process, or its remains, are there.
		reapable = !errors.Is(syscall.Kill(child.Process.Pid, 0), syscall.ESRCH)
	}
	if err := syscall.Kill(child.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child's remains are still there: %v", err)
	}
}
