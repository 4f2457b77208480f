// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// garbagePercent is how much of what is in use may be garbage before it is collected.
// Most of what a request allocates is of no use a moment later, and what stays is small:
// at Go's own 100 a fifth of the gateway's processor time went into collecting.
const garbagePercent = 400

// TuneMemory collects garbage less often, and more often again as the memory limit of
// the process's cgroup comes near. GOGC and GOMEMLIMIT in the environment have precedence.
func TuneMemory(log *slog.Logger) {
	limit, err := memlimit.Set()
	if err != nil { // Without, the kernel would end the gateway where a collection could have helped.
		log.Warn("the memory limit can not be read, so garbage is collected as often as Go does", "error", err.Error())
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	log.Debug("garbage is collected at the latest", "bytes", limit)
}
