// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// watch ends a session that idles for too long, or whose client does not answer pings.
// When stop returns nothing of it runs any more.
func (s *session) watch() (stop func()) {
	interval := s.limits.Ping
	if s.limits.Idle > 0 {
		interval = min(interval, s.limits.Idle)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var looking sync.Mutex
	var timer *time.Timer
	looking.Lock()
	defer looking.Unlock()
	timer = time.AfterFunc(interval, func() {
		looking.Lock()
		defer looking.Unlock()
		if s.look(ctx) {
			timer.Reset(interval)
		}
	})
	return func() {
		cancel()
		looking.Lock()
		defer looking.Unlock()
		timer.Stop()
	}
}

// look is whether to look again.
func (s *session) look(ctx context.Context) bool {
	s.mu.Lock()
	why, moved, waiting := s.why, s.traffic.moved, s.traffic.waiting()
	s.mu.Unlock()
	still := time.Since(moved)
	switch {
	case why != nil || ctx.Err() != nil:
		return false
	case s.limits.Idle > 0 && waiting && still >= s.limits.Idle:
		s.end(&ending{
			status:   websocket.StatusNormalClosure,
			response: fatal(codeIdle, "terminating connection, for it was idle for "+s.limits.Idle.String()),
		})
		return false
	case still < s.limits.Ping || s.passing.Load() > 0:
		// A piece under way has limits of its own, and may stand before the answer to a ping.
		return true
	}
	return s.ping(ctx, moved)
}

// ping is whether the client still lives: it answers, or something has moved since.
func (s *session) ping(ctx context.Context, since time.Time) bool {
	ctx, stop := context.WithTimeout(ctx, s.limits.Ping)
	defer stop()
	if s.ws.Ping(ctx) == nil {
		return true
	}
	s.mu.Lock()
	moved := s.traffic.moved
	s.mu.Unlock()
	if moved.After(since) || s.passing.Load() > 0 {
		return true
	}
	s.end(gone)
	return false
}
