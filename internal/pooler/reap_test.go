// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/pooler"
)

// TestMain makes this process inherit orphans, as the first process of a container does.
func TestMain(m *testing.M) {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER of prctl(2).
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		panic(errno)
	}
	os.Exit(m.Run())
}

func TestOrphansAreReapedAndOwnChildrenAreNot(t *testing.T) {
	go pooler.Reap(t.Context(), 200*time.Millisecond, slog.New(slog.DiscardHandler))
	own := exec.Command("sleep", "0.3")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "sleep 0.2 >/dev/null & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Wait(); err != nil {
		t.Errorf("the end of an own child was taken away: %v", err)
	}
	eventually(t, "the orphan is gone", func() bool { return syscall.Kill(orphan, 0) == syscall.ESRCH })
}
