// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// Status is where a result comes from, as clients read it.
type Status string

// The statuses of accelerate-cache-status (@prisma/extension-accelerate, AccelerateInfo).
const (
	Fresh Status = "ttl"  // It was kept, and is not older than max-age.
	Stale Status = "swr"  // It was kept, is older, and is being fetched again.
	Miss  Status = "miss" // It was fetched for the client.
	None  Status = "none" // The client asked for no cache.
)

// Answer is a result.
type Answer struct {
	Status Status
	// Body is shared with others: nobody writes to it.
	Body []byte
	// At is when it was read, or a little earlier.
	At time.Time
}

// SetHeader says in an answer's header what clients ask for with withAccelerateInfo.
func (a Answer) SetHeader(header http.Header) {
	header.Set("Accelerate-Cache-Status", string(a.Status))
	header.Set("Last-Modified", a.At.UTC().Format(http.TimeFormat))
}

// Fetch reads a result. It may outlive the request that it was begun for, as others wait
// for it, so it has nothing of the request that ends with it. Its context ends when
// nobody waits any more.
type Fetch func(ctx context.Context) ([]byte, error)

// Get returns what is kept for a scope and a digest, or fetches it. However many ask for
// the same at a time, it is fetched once. The error is that of the fetch, or of the
// context; errors are not kept. Where a fetch panics this does, too.
func (c *Cache) Get(ctx context.Context, scope Scope, digest Digest, policy Policy, fetch Fetch) (Answer, error) {
	if !policy.Caches() {
		return pass(ctx, fetch)
	}
	k := key{scope: scope, digest: digest, policy: policy.digest()}
	if kept, found := c.lookUp(k); found {
		age := time.Since(kept.at)
		switch {
		case age < policy.TTL:
			c.counts.fresh.Add(1)
			return Answer{Status: Fresh, Body: kept.body, At: kept.at}, nil
		case age < policy.TTL+policy.SWR:
			c.counts.stale.Add(1)
			c.refresh(ctx, k, policy, fetch)
			return Answer{Status: Stale, Body: kept.body, At: kept.at}, nil
		}
	}
	c.counts.misses.Add(1)
	return c.fetch(ctx, k, policy, fetch)
}

// lookUp returns what is kept and has not been invalidated.
func (c *Cache) lookUp(k key) (*entry, bool) {
	kept, found := c.kept.GetIfPresent(k)
	if found && !c.marks.valid(k.scope, kept.policy.Tags, kept.began) {
		c.kept.Invalidate(k) // Were it replaced meanwhile, that would be fetched once more.
		return nil, false
	}
	return kept, found
}

func pass(ctx context.Context, fetch Fetch) (Answer, error) {
	answer := Answer{Status: None, At: time.Now()}
	var err error
	answer.Body, err = fetch(ctx)
	return answer, err
}

// fetch waits for a result that is being fetched, or fetches it.
func (c *Cache) fetch(ctx context.Context, k key, policy Policy, fetch Fetch) (Answer, error) {
	if err := context.Cause(ctx); err != nil {
		return Answer{}, err
	}
	f := c.flights.join(k, c.stillValid(k, policy), func() *flight { return c.begin(ctx, k, policy, fetch) })
	defer c.flights.leave(k, f)
	select {
	case <-f.done:
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	if p, is := errors.AsType[*panicked](f.err); is {
		panic(p)
	}
	return Answer{Status: Miss, Body: f.entry.body, At: f.entry.at}, f.err
}

// refresh fetches in the background what is kept but old, unless that is under way, or
// too much else is: then the next one who asks may.
func (c *Cache) refresh(ctx context.Context, k key, policy Policy, fetch Fetch) {
	c.flights.refresh(k, c.stillValid(k, policy), func() *flight { return c.begin(ctx, k, policy, fetch) }, func(f *flight) {
		c.counts.refreshes.Add(1)
		if f.err != nil {
			c.counts.failed.Add(1)
			c.failed(f.err)
		}
	})
}

func (c *Cache) stillValid(k key, policy Policy) func(*flight) bool {
	return func(f *flight) bool { return c.marks.valid(k.scope, policy.Tags, f.entry.began) }
}

// begin starts a fetch, whose result is kept if it may be.
func (c *Cache) begin(ctx context.Context, k key, policy Policy, fetch Fetch) *flight {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), c.limits.Timeout)
	f := &flight{end: end, done: make(chan struct{}), entry: &entry{at: time.Now(), began: c.marks.now(), policy: policy}}
	f.run = func() {
		defer end()
		defer close(f.done)
		defer func() {
			if problem := recover(); problem != nil {
				f.err = &panicked{problem: problem, stack: debug.Stack()}
			}
		}()
		f.entry.body, f.err = fetch(ctx)
		if f.err == nil && len(f.entry.body) <= c.limits.EntryBytes {
			c.keep(k, f.entry)
		}
	}
	return f
}

// panicked is a mistake in this program that a fetch has met. It is thrown again where
// somebody waits: in the fetch's own goroutine it would end the process.
type panicked struct {
	problem any
	stack   []byte
}

func (p *panicked) Error() string {
	return fmt.Sprintf("fetching panicked: %v\n%s", p.problem, p.stack)
}

// keep keeps a result unless it was invalidated meanwhile.
func (c *Cache) keep(k key, e *entry) {
	if c.marks.valid(k.scope, e.policy.Tags, e.began) {
		c.kept.Set(k, e)
	}
}
