// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import "sync/atomic"

type counts struct {
	fresh, stale, misses, refreshes, failed, invalidations atomic.Uint64
}

// Stats are counted since the cache is there, but for Entries and Bytes.
type Stats struct {
	// Fresh, Stale and Misses are how often a result was given away with that status.
	Fresh, Stale, Misses uint64
	// Refreshes are fetches in the background that have ended, and FailedRefreshes those
	// of them that brought nothing.
	Refreshes, FailedRefreshes uint64
	Invalidations              uint64
	// Entries and Bytes are what is kept now, about.
	Entries int
	Bytes   uint64
}

// Stats are what the cache has done, and what it keeps.
func (c *Cache) Stats() Stats {
	return Stats{
		Fresh: c.counts.fresh.Load(), Stale: c.counts.stale.Load(), Misses: c.counts.misses.Load(),
		Refreshes: c.counts.refreshes.Load(), FailedRefreshes: c.counts.failed.Load(), Invalidations: c.counts.invalidations.Load(),
		Entries: c.kept.EstimatedSize(), Bytes: c.kept.WeightedSize(),
	}
}
