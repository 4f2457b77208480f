// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"maps"
	"slices"
	"time"
)

// lastWords is how long clients have to hear of the end once Shutdown's context is over.
const lastWords = 2 * time.Second

// Shutdown takes no more WebSockets. It ends those that are idle with SQLSTATE 57P01 and
// close status 1001, the others as soon as their transaction is over, and what is left
// when the context ends at once; the error is then the context's. When it returns no
// session runs any more.
func (s *WebSocket) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	for _, one := range s.all() {
		one.drain()
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.running.Wait()
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	for _, one := range s.all() {
		one.end(shutdown())
	}
	select {
	case <-over:
	case <-time.After(lastWords):
		for _, one := range s.all() {
			one.sever()
		}
		<-over
	}
	return ctx.Err()
}

func (s *WebSocket) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sessions))
}

// drain ends the session once nothing is under way in it.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.server == nil || s.traffic.idle() {
		s.endLocked(shutdown())
	}
}

// sever ends the session without another word.
func (s *session) sever() {
	s.end(gone)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nobody is left to whom an error would matter.
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
}
