// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"
)

// flight is a fetch that is under way.
type flight struct {
	entry *entry // Its body may be read when done is closed.
	err   error

	run     func()
	done    chan struct{}
	end     context.CancelFunc
	waiting int // How many will read the result; guarded by flights.mu.
}

// flights are fetches, one for each key. A fetch ends early when nobody waits for it, so
// that none runs at a server for clients that have gone.
type flights struct {
	mu      sync.Mutex
	all     map[key]*flight
	running map[*flight]struct{} // Those of all, and those whose place another took.
	slots   chan struct{}
	closed  bool
	ended   sync.WaitGroup
}

func (a *flights) init(limits Limits) {
	a.all, a.running, a.slots = map[key]*flight{}, map[*flight]struct{}{}, make(chan struct{}, limits.Refreshes)
}

// join returns the fetch that is under way, if its result is of use, or begins one. Who
// joins leaves.
func (a *flights) join(k key, useful func(*flight) bool, begin func() *flight) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.all[k]
	if f == nil || !useful(f) {
		f = begin()
		a.start(k, f, func() {})
	}
	f.waiting++
	return f
}

func (a *flights) leave(k key, f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		a.forget(k, f)
		f.end()
	}
}

// refresh begins a fetch that nobody waits for, unless one is under way or there is no
// slot left.
func (a *flights) refresh(k key, useful func(*flight) bool, begin func() *flight, done func(*flight)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.all[k]; f != nil && useful(f) {
		return
	}
	select {
	case a.slots <- struct{}{}:
	default:
		return
	}
	f := begin()
	f.waiting++ // So that nobody who joins and leaves ends it.
	a.start(k, f, func() {
		<-a.slots
		done(f)
	})
}

// start runs a fetch. One that is under way for the same key goes on for those who wait
// for it already.
func (a *flights) start(k key, f *flight, then func()) {
	a.all[k] = f
	a.running[f] = struct{}{}
	if a.closed {
		f.end()
	}
	a.ended.Go(func() {
		f.run()
		then()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.forget(k, f)
		delete(a.running, f)
	})
}

func (a *flights) forget(k key, f *flight) {
	if a.all[k] == f {
		delete(a.all, k)
	}
}

func (a *flights) close() {
	a.mu.Lock()
	a.closed = true
	for f := range a.running {
		f.end()
	}
	a.mu.Unlock()
	a.ended.Wait()
}
