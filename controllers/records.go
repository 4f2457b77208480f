// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/status"
)

// Record is what the last looks at a pool's server came to. It lives in memory
// only: whatever must outlive the manager stands in a status.
type Record struct {
	// Source digests the Secret's content and the spec it was read with, so that a
	// change of either is noticed without keeping it.
	Source [32]byte
	// Good is the newest Source that was looked at with success. A source that never
	// was is not rolled out: it would cut clients who are served by the one before.
	Good [32]byte
	// Observation is the newest good one; its zero value where Declared stands in.
	Observation postgres.Observation
	// Problem is why the newest look failed; nil when it did not.
	Problem *status.Blocked
	// FailingSince is since when every look has failed; zero when the newest did not.
	FailingSince time.Time
	// Candidate is what the Secrets say in place of what poolers run, as long as no look
	// at it was good.
	Candidate Candidate
	// Behind is the server that the address led to at the newest good look.
	Behind Behind
	// SeenAt is when Observation was made.
	SeenAt time.Time
	// ProbedAt is when the newest look was, failed or not.
	ProbedAt time.Time
	// Interval is how long that look is good for.
	Interval time.Duration
	// Upstream is the name of the server's Upstream; empty before it is known.
	Upstream string
	// Endpoint is the server's address as the Secret spells it.
	Endpoint string
	// Declared is spec.upstream.maxConnections where it stands in for the server's word.
	Declared *int32
	// Pooled is true when a pooler stands between the pool and the server.
	Pooled bool
	// lookup is what the last look at how users are looked up came to.
	lookup lookupRecord
}

// answered reports whether the newest look saw a server.
func (r Record) answered() bool {
	return r.Observation.MaxConnections > 0 && r.SeenAt.Equal(r.ProbedAt)
}

// Candidate is a source that is to take the place of the one in use.
type Candidate struct {
	// Source digests it, as Record.Source does.
	Source [32]byte
	// Since is when it was first looked at, ProbedAt when it was last.
	Since, ProbedAt time.Time
	// Interval is how long that look is good for, Problem why it failed.
	Interval time.Duration
	Problem  *status.Blocked
}

// Records holds the record of every pool, the last word of every pod, and what was
// noted of every server. The two reconcilers share it.
type Records struct {
	mu      sync.Mutex
	pools   map[types.NamespacedName]Record
	pods    map[types.UID]podRecord
	servers map[string]serverRecord
	// looks say which server each pool's address leads to.
	looks *looks
	// demands are what the clients of pools have use for.
	demands map[types.NamespacedName]*poolDemand
	// told is what was told of pools last, on what is the case and was told of.
	told map[occasion]string
	on   map[occasion]lasting
	// counted are the generations of pools that their server's account speaks of.
	counted map[types.NamespacedName]int64
	// queries are what the pools' newest configurations admit by.
	queries map[types.NamespacedName]rendered
}

// poolDemand is what the pods of a pool say of its clients.
type poolDemand struct {
	budget.Demand
	starved int32
}

// occasion is something to be told once when it comes about, of a pool or, where that
// is empty, of a server.
type occasion struct {
	upstream string
	pool     types.NamespacedName
	what     string
}

// lasting is since when something is the case, and whether it was told.
type lasting struct {
	since time.Time
	told  bool
}

// podRecord is what is known of one pod.
type podRecord struct {
	ack   contract.Status
	heard bool
	// asked is true once this process has told the pod something, or asked it.
	asked bool
	// key is what the pod's pool was asked with last. It is kept here so that it outlives
	// the pool's Secret: a pod that drains is asked to its end.
	key []byte
	// unready is since when the pod has had a grant without being ready.
	unready time.Time
	// silent is since when questions to it run into their time limit, askedAt the newest
	// of them.
	silent, askedAt time.Time
	// lagging is since when it does not run what it was told, nudged when that was last
	// done something about.
	lagging, nudged time.Time
	// refusing is when logins were last refused to it.
	refusing time.Time
}

// NewRecords returns empty Records.
func NewRecords() *Records {
	return &Records{
		pools: map[types.NamespacedName]Record{}, pods: map[types.UID]podRecord{},
		servers: map[string]serverRecord{}, looks: newLooks(), demands: map[types.NamespacedName]*poolDemand{},
		told: map[occasion]string{}, on: map[occasion]lasting{},
		counted: map[types.NamespacedName]int64{}, queries: map[types.NamespacedName]rendered{},
	}
}

// Pool returns the record of a pool; its zero value before the first look.
func (r *Records) Pool(key types.NamespacedName) Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pools[key]
}

// SetPool keeps the record of a pool.
func (r *Records) SetPool(key types.NamespacedName, record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pools[key] = record
}

// ForgetPool drops the record of a pool that is gone.
func (r *Records) ForgetPool(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pools, key)
	delete(r.queries, key)
	r.looks.forgetPool(key)
	delete(r.demands, key)
	delete(r.counted, key)
	maps.DeleteFunc(r.on, func(o occasion, _ lasting) bool { return o.pool == key })
	maps.DeleteFunc(r.told, func(o occasion, _ string) bool { return o.pool == key })
}

// Counted is the generation of a pool that its server's account speaks of; 0 where this
// process has not made one.
func (r *Records) Counted(key types.NamespacedName) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counted[key]
}

// SetCounted notes that an account speaks of pools as they are here.
func (r *Records) SetCounted(pools []poolv1.ConnectionPool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range pools {
		r.counted[types.NamespacedName{Namespace: pools[i].Namespace, Name: pools[i].Name}] = pools[i].Generation
	}
}

// Told notes what is told of a matter, and reports whether that is what was told
// last: a cache that is behind would have it told twice.
func (r *Records) Told(about occasion, what string) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.told[about] == what
	r.told[about] = what
	return before
}

// Tell notes whether something is the case, and reports, once, that it has been so
// for a while.
func (r *Records) Tell(o occasion, is bool, now time.Time, while time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !is {
		delete(r.on, o)
		return false
	}
	l := r.on[o]
	l.since = firstOf(l.since, true, now)
	tell := !l.told && now.Sub(l.since) >= while
	l.told = l.told || tell
	r.on[o] = l
	return tell
}

// NoteUse adds what all pods of a pool said at one time.
func (r *Records) NoteUse(pool types.NamespacedName, at time.Time, use budget.Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.demands[pool]
	if d == nil {
		d = &poolDemand{}
		r.demands[pool] = d
	}
	d.Observe(at, use)
	d.starved = use.Starved
}

// Demand is what the clients of a pool have use for, and how many of them wait for it.
func (r *Records) Demand(pool types.NamespacedName) (need *int32, starved int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.demands[pool]; d != nil {
		return d.Need(), d.starved
	}
	return nil, 0
}

// Ack returns what a pod said last of itself.
func (r *Records) Ack(uid types.UID) (contract.Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pod := r.pods[uid]
	return pod.ack, pod.heard
}

// SetAck keeps what a pod says of itself, and tells whether it said it anew, and how
// many logins were refused to it in between.
func (r *Records) SetAck(uid types.UID, ack contract.Status, now time.Time) (changed bool, refused int64) {
	r.notePod(uid, func(pod *podRecord) {
		old := pod.ack
		changed = !pod.heard || old.Gen != ack.Gen || old.Config != ack.Config || old.Problem != ack.Problem || old.Paused != ack.Paused
		refused = ack.Refused - old.Refused
		if refused < 0 {
			refused = ack.Refused // The container started anew, and counts from 0.
		}
		if refused > 0 && pod.heard {
			pod.refusing = now
		}
		pod.ack, pod.heard, pod.silent = ack, true, time.Time{}
	})
	return changed, refused
}

// Asked reports whether a pod was asked, or told something, since this process started.
func (r *Records) Asked(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[uid].asked
}

// SetAsked notes that a pod was asked or told something, and reports whether that is new.
func (r *Records) SetAsked(uid types.UID) (first bool) {
	r.notePod(uid, func(pod *podRecord) { first, pod.asked = !pod.asked, true })
	return first
}

// Refusing reports whether logins of a pod were refused in the last minute.
func (r *Records) Refusing(uid types.UID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.pods[uid].refusing
	return !at.IsZero() && now.Sub(at) < time.Minute
}

// firstOf is since when something is the case: from now, unless it was before.
func firstOf(since time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		return time.Time{}
	case since.IsZero():
		return now
	}
	return since
}

// ForgetPod drops what is known of a pod that is gone.
func (r *Records) ForgetPod(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pods, uid)
}

// Unready notes whether a pod is not ready, and returns for how long it has been so
// since it was tried with connections. The time goes on while a pod is parked whose try
// failed, and not where it had yet to. A restart of the manager starts it anew.
func (r *Records) Unready(uid types.UID, unready, tried bool, now time.Time) (since time.Duration) {
	r.notePod(uid, func(pod *podRecord) {
		failed := !pod.unready.IsZero() && now.Sub(pod.unready) > patience
		unready = unready && (tried || failed)
		pod.unready = firstOf(pod.unready, unready, now)
		if unready {
			since = now.Sub(pod.unready)
		}
	})
	return since
}

// Key is what a pod is asked with; nil where that has to be read.
func (r *Records) Key(uid types.UID) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[uid].key
}

// SetKey keeps the key of a pod; nil has it read anew.
func (r *Records) SetKey(uid types.UID, key []byte) {
	r.notePod(uid, func(pod *podRecord) { pod.key = key })
}

// Silent notes that a question to a pod ran into its time limit.
func (r *Records) Silent(uid types.UID, now time.Time) {
	r.notePod(uid, func(pod *podRecord) {
		if pod.silent.IsZero() {
			pod.silent = now
		}
		pod.askedAt = now
	})
}

// Askable reports whether it is time to ask a pod. One that is silent is asked more
// and more seldom: each question holds up the pass for the others.
func (r *Records) Askable(uid types.UID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pod := r.pods[uid]
	return pod.silent.IsZero() || now.Sub(pod.askedAt) >= min(pod.askedAt.Sub(pod.silent)+settleInterval, retryInterval)
}

func (r *Records) notePod(uid types.UID, note func(*podRecord)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pod := r.pods[uid]
	note(&pod)
	r.pods[uid] = pod
}
