// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// toldOf is how many violations of a kind are told in full.
const toldOf = 5

// timeline is what was done, and what was seen to go wrong.
type timeline struct {
	mu    sync.Mutex
	lines []string
}

func (l *timeline) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return "\n    " + strings.Join(l.lines, "\n    ")
}

// bound is what pools may take together, by the administrator's word. While a new
// word is on its way to the pods, the larger of the two counts.
type bound struct {
	mu    sync.Mutex
	words []words
}

// words are what an Upstream's spec says; a ceiling of 0 is none.
type words struct{ direct, ceiling int }

func (w words) of(room int) int {
	if w.ceiling > 0 {
		return min(room-w.direct, w.ceiling)
	}
	return room - w.direct
}

func (b *bound) put(w words) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.words = append(b.words, w)
}

// last is the newest word.
func (b *bound) last() words {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.words[len(b.words)-1]
}

// settle forgets all but the newest word.
func (b *bound) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.words = b.words[len(b.words)-1:]
}

func (b *bound) of(room int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	largest := b.words[0].of(room)
	for _, w := range b.words {
		largest = max(largest, w.of(room))
	}
	return largest
}

// seen is what samples came to. Only the sampler writes it.
type seen struct {
	samples int64
	// largest sample, and what it was allowed; nearest is the one with the least room.
	largest, largestOf, nearest, nearestOf int
	// loggingIn is how many logins were in flight at most, beyond how many backends
	// there were at most.
	loggingIn, beyond int
	// used is the largest part of the budget that was busy, in percent.
	used, violations int
	// last is read by others.
	last atomic.Pointer[load.Sample]
}

func (s *seen) report() string {
	return fmt.Sprintf("%d samples: at most %d admitted backends of the %d allowed, at the nearest %d of %d; "+
		"at most %d logins in flight at once, %d backends beyond the budget with them; %d %% of the budget busy",
		s.samples, s.largest, s.largestOf, s.nearest, s.nearestOf, s.loggingIn, max(s.beyond, 0), s.used)
}

// judge is told every sample.
func (o *oracle) judge(t *testing.T, s load.Sample) {
	t.Helper()
	allowed := o.bound.of(s.Room)
	o.seen.add(s, allowed)
	logins := o.logins.most()
	if s.Admitted <= allowed && s.Backends <= allowed+logins {
		return
	}
	o.seen.violations++
	if o.seen.violations > toldOf {
		return
	}
	o.timeline.note("VIOLATION: %d backends admitted and %d with logins, of %d allowed and %d logins; %d of others",
		s.Admitted, s.Backends, allowed, logins, s.Others)
	t.Errorf("at %s pools had %d backends and %d with those logging in, of %d allowed and %d logins%s",
		s.At.UTC().Format("15:04:05.000"), s.Admitted, s.Backends, allowed, logins, o.account(t.Context()))
}

func (s *seen) add(sample load.Sample, allowed int) {
	if s.samples == 0 || sample.Admitted > s.largest {
		s.largest, s.largestOf = sample.Admitted, allowed
	}
	if s.samples == 0 || allowed-sample.Admitted < s.nearestOf-s.nearest {
		s.nearest, s.nearestOf = sample.Admitted, allowed
	}
	s.samples++
	s.last.Store(&sample)
	s.loggingIn = max(s.loggingIn, sample.Backends-sample.Admitted)
	s.beyond = max(s.beyond, sample.Backends-allowed)
	s.used = max(s.used, 100*sample.Busy/allowed)
}

// excuses are the times in which a client may fail, and how often that happened.
type excuses struct {
	mu      sync.Mutex
	windows []*excuse
	spoken  int
}

// excuse is one such time.
type excuse struct {
	why string
	// client is whose failures are excused; empty is everyone's.
	client string
	// severed excuses only that the other side is not there.
	severed     bool
	from, until time.Time
	times       int
}

// open begins a time that lasts until the function it returns is called.
func (e *excuses) open(why, client string, severed bool) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := &excuse{why: why, client: client, severed: severed, from: time.Now()}
	e.windows = append(e.windows, x)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		x.until = time.Now()
	}
}

// cover reports whether a failure has an excuse.
func (e *excuses) cover(f load.Failure) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.windows {
		fits := (x.client == "" || x.client == f.Client) && (!x.severed || f.Severed())
		if fits && f.Until.After(x.from) && (x.until.IsZero() || f.From.Before(x.until)) {
			x.times++
			return true
		}
	}
	return false
}

func (e *excuses) report() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := []string{"excused failures:"}
	for _, x := range e.windows {
		lines = append(lines, fmt.Sprintf("%s, for %.1f s: %d of %s", x.why, x.until.Sub(x.from).Seconds(), x.times, cmp.Or(x.client, "all")))
	}
	return strings.Join(lines, "\n    ")
}

// fails is told of every failure of a client that should have none.
func (o *oracle) fails(t *testing.T, f load.Failure) {
	t.Helper()
	if o.excuses.cover(f) {
		return
	}
	o.excuses.mu.Lock()
	o.excuses.spoken++
	told := o.excuses.spoken <= toldOf
	o.excuses.mu.Unlock()
	now := load.Sample{}
	if last := o.seen.last.Load(); last != nil {
		now = *last
	}
	o.timeline.note("FAILURE: %s, %s for %.1f s: %v; %d backends admitted, %d logging in, %d of others, room for %d", f.Client, f.Doing,
		f.Until.Sub(f.From).Seconds(), f.Err, now.Admitted, now.Backends-now.Admitted, now.Others, now.Room)
	if told {
		t.Errorf("at %s a client of %s failed after %.3f s, %s: %v%s",
			f.Until.UTC().Format("15:04:05.000"), f.Client, f.Until.Sub(f.From).Seconds(), f.Doing, f.Err, o.account(t.Context()))
	}
}

// logins is how many logins may be in flight: one for each PgBouncer and database.
type logins struct {
	mu     sync.Mutex
	counts map[time.Time]int
}

// remembered is how long the server may take to see that a PgBouncer is gone.
const remembered = 5 * time.Second

func (l *logins) add(count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[time.Time]int{}
	}
	for at := range l.counts {
		if time.Since(at) > remembered {
			delete(l.counts, at)
		}
	}
	l.counts[time.Now()] = count
}

func (l *logins) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := 0
	for _, count := range l.counts {
		most = max(most, count)
	}
	return most
}

// countLogins counts the pods that there are, until ctx ends.
func (o *oracle) countLogins(ctx context.Context) {
	for ctx.Err() == nil {
		var pods corev1.PodList
		labels := client.MatchingLabels{"app.kubernetes.io/managed-by": "poolfleet"}
		if err := o.client.List(ctx, &pods, client.InNamespace(o.namespace), labels); err == nil {
			count := 0
			for _, pod := range pods.Items {
				count += len(o.urls[o.indexOf(pod)])
			}
			o.logins.add(count)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// indexOf says which pool a pod is of.
func (o *oracle) indexOf(pod corev1.Pod) int {
	return max(0, slices.Index(o.names, pod.Labels["poolfleet.dev/pool"]))
}
