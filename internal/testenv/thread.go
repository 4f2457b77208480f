// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"runtime"
	"syscall"
)

// enter locks the goroutine to its thread and moves that thread alone into a root
// file system, as UserID. The raw calls are what keeps the other threads out of it:
// those of package syscall change all of them.
func enter(root string) error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return fmt.Errorf("parting from the process's root: %w", err)
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	for _, call := range []uintptr{syscall.SYS_SETRESGID, syscall.SYS_SETRESUID} {
		if _, _, errno := syscall.RawSyscall(call, UserID, UserID, UserID); errno != 0 {
			return fmt.Errorf("changing the user: %w", errno)
		}
	}
	return nil
}
