// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Reap waits for children that others left to this process, as the first process
// of a container must, until ctx ends. Children that were started here and are
// waited for by their starter are not its business: it leaves a zombie alone until
// it has seen it twice.
func Reap(ctx context.Context, every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	seen := map[int]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		zombies := zombieChildren()
		for pid := range zombies {
			if seen[pid] {
				_, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
				log.Debug("reaped", "pid", pid, "error", err)
			}
		}
		seen = zombies
	}
}

// zombieChildren reads /proc/<pid>/stat: "pid (name) state ppid ...", where the
// name may hold anything.
func zombieChildren() map[int]bool {
	zombies := map[int]bool{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return zombies
	}
	self := strconv.Itoa(os.Getpid())
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // It is gone.
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == self {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				zombies[pid] = true
			}
		}
	}
	return zombies
}
