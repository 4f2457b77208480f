// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cache keeps results for as long as clients ask it to with Prisma's
// cacheStrategy. It proves nobody's key: a caller is let in before it gets to look. It
// never gives one scope's results to another, and writes nothing to a log or a disk.
package cache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"time"

	"github.com/maypok86/otter/v2"
)

// Limits bound a cache. Each has to be set.
type Limits struct {
	// Bytes bounds all that is kept. It may be exceeded for an instant, while what is
	// used least makes room.
	Bytes uint64
	// EntryBytes bounds one result; a longer one is not kept.
	EntryBytes int
	// Refreshes is how many results are fetched at once while clients have old ones.
	Refreshes int
	// Timeout bounds a fetch.
	Timeout time.Duration
}

// DefaultLimits are those of the gateway's flags.
var DefaultLimits = Limits{Bytes: 64 << 20, EntryBytes: 4 << 20, Refreshes: 32, Timeout: 30 * time.Second}

// Scope is whose results they are: those of one pool, read with one credential.
type Scope [sha256.Size]byte

// Digest is what was asked for.
type Digest [sha256.Size]byte

// Cache keeps results. It is safe for concurrent use.
type Cache struct {
	limits  Limits
	seed    [sha256.Size]byte
	kept    *otter.Cache[key, *entry]
	flights flights
	marks   *marks
	counts  counts
	failed  func(error)
}

// key has the policy, too: who asks for the same with other tags or for another time
// gets a result that obeys those.
type key struct {
	scope  Scope
	digest Digest
	policy [sha256.Size]byte
}

// entry is a result. Nobody writes to it.
type entry struct {
	body   []byte
	at     time.Time // When its fetch began: it is no younger than that.
	began  uint64    // What had been invalidated by then; see marks.
	policy Policy
}

// entryOverhead is about what an entry takes besides its body and tags, in bytes.
const entryOverhead = 512

func (e *entry) weight() uint32 {
	bytes := len(e.body) + entryOverhead
	for _, tag := range e.policy.Tags {
		bytes += len(tag)
	}
	return uint32(min(bytes, math.MaxUint32))
}

// New returns an empty cache. It calls failed with why a result could not be fetched in
// the background.
func New(limits Limits, failed func(error)) (*Cache, error) {
	c := &Cache{limits: limits, marks: newMarks(), failed: failed}
	_, _ = rand.Read(c.seed[:]) // It never fails: see crypto/rand.Read.
	kept, err := otter.New(&otter.Options[key, *entry]{
		MaximumWeight: limits.Bytes,
		Weigher:       func(_ key, e *entry) uint32 { return e.weight() },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(kept otter.Entry[key, *entry]) time.Duration {
			return kept.Value.policy.TTL + kept.Value.policy.SWR
		}),
		Logger: &otter.NoopLogger{},
	})
	c.kept = kept
	c.flights.init(limits)
	return c, err
}

// Close ends the fetches that are under way, and waits for them. Nothing is asked of the
// cache from then on.
func (c *Cache) Close() {
	c.flights.close()
	c.kept.StopAllGoroutines()
}

// ScopeOf is the scope of what these together name. It is a hash, keyed with what only
// this process knows, so that no password outlives its request.
func (c *Cache) ScopeOf(parts ...string) (scope Scope) {
	sum := hmac.New(sha256.New, c.seed[:])
	for _, part := range parts {
		write(sum, part)
	}
	sum.Sum(scope[:0])
	return scope
}

// DigestOf is the digest of what these say one after the other.
func DigestOf(parts ...[]byte) (digest Digest) {
	sum := sha256.New()
	for _, part := range parts {
		write(sum, part)
	}
	sum.Sum(digest[:0])
	return digest
}

// write puts the length before the text, so that no two lists are the same bytes.
func write[T string | []byte](sum hash.Hash, part T) {
	_, _ = sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // A hash takes all.
	_, _ = sum.Write([]byte(part))
}
