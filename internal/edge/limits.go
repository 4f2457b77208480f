// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limiter bounds what pools and callers have under way.
type Limiter struct {
	mu   sync.Mutex
	busy map[string]int
}

// Admit lets a request or a WebSocket in until release is called. The error is a
// *Refusal with status 429.
func (l *Limiter) Admit(pool Pool, _ netip.Addr) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy == nil {
		l.busy = map[string]int{}
	}
	if l.busy[pool.Label] >= pool.MaxConcurrency {
		return nil, &Refusal{
			Status: http.StatusTooManyRequests, Code: "53300", RetryAfter: time.Second,
			Message: fmt.Sprintf("pool %s has %d requests and WebSockets under way, as many as it may", pool.Label, pool.MaxConcurrency),
			Hint:    "Try again, or raise spec.edge.maxConcurrency.",
		}
	}
	l.busy[pool.Label]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.busy[pool.Label]--; l.busy[pool.Label] == 0 {
			delete(l.busy, pool.Label)
		}
	}), nil
}
