// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// serverRecord is what was noted of one server.
type serverRecord struct {
	// polledAt is when all its pods were asked last.
	polledAt time.Time
	// weighed is when the newest look was made that a pass has weighed.
	weighed time.Time
	// others are what the newest looks showed that was not the pools', oldest first.
	others []int32
	// useWritten is when status.use was written last, unwritten that there was a look since.
	useWritten time.Time
	unwritten  bool
	// budget is what grants may come to, narrow since when it may not be what it grew to.
	budget int32
	narrow time.Time
	// ledger is the resourceVersion of the newest ledger that a pass here ended with.
	ledger string
}

// Poll reports whether all pods of a server are to be asked again, and takes it
// that they are.
func (r *Records) Poll(upstream string, interval time.Duration, now time.Time) (due bool) {
	r.noteServer(upstream, func(s *serverRecord) {
		if due = now.Sub(s.polledAt) >= interval; due {
			s.polledAt = now
		}
	})
	return due
}

// newLook reports whether a look is one that no pass has weighed.
func (r *Records) newLook(upstream string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return at.Sub(r.servers[upstream].weighed) >= looksApart
}

// noteOthers keeps what a look showed that was not the pools'.
func (r *Records) noteOthers(upstream string, at time.Time, others int32) {
	r.noteServer(upstream, func(s *serverRecord) {
		s.weighed, s.unwritten = at, true
		s.others = append(s.others, others)
		s.others = s.others[max(len(s.others)-looksToBelieve, 0):]
	})
}

// others are what the newest looks showed that was not the pools', oldest first.
func (r *Records) others(upstream string) []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int32(nil), r.servers[upstream].others...)
}

// hasten has the next look at a pool's server soon: something was seen that two more
// looks have to bear out.
func (r *Records) hasten(pool types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record, known := r.pools[pool]; known {
		record.Interval = min(record.Interval, retryInterval)
		r.pools[pool] = record
	}
}

// useDue reports whether what looks showed since status.use was written is to be written.
func (r *Records) useDue(upstream string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	server := r.servers[upstream]
	return server.unwritten && now.Sub(server.useWritten) >= useInterval
}

// noteUseWritten notes that status.use stands as the newest look has it.
func (r *Records) noteUseWritten(upstream string, now time.Time) {
	r.noteServer(upstream, func(s *serverRecord) { s.useWritten, s.unwritten = now, false })
}

// trusts reports whether the ledger is as the newest pass here left it.
func (r *Records) trusts(upstream *poolv1.Upstream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.servers[upstream.Name].ledger == upstream.ResourceVersion
}

// trust notes the ledger that a pass ended with.
func (r *Records) trust(upstream *poolv1.Upstream) {
	r.noteServer(upstream.Name, func(s *serverRecord) { s.ledger = upstream.ResourceVersion })
}

// ForgetServer drops what was noted of a server that is gone.
func (r *Records) ForgetServer(upstream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.servers, upstream)
	maps.DeleteFunc(r.on, func(o occasion, _ lasting) bool { return o.upstream == upstream })
	r.looks.forgetServer(upstream)
}

func (r *Records) noteServer(upstream string, note func(*serverRecord)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.servers[upstream]
	note(&s)
	r.servers[upstream] = s
}
