// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// marks remember what was invalidated when, by a count of the invalidations. A result is
// valid if its fetch began after the last one that concerns it. There is no index of
// results by tag: each is looked at when it is asked for.
//
// What is forgotten is rounded up: a tag to all of its scope, a scope to all scopes. So
// that can make more results invalid, but none valid again, and who invalidates many tags
// pays for it alone.
type marks struct {
	mu     sync.Mutex
	count  uint64
	all    uint64
	scopes *simplelru.LRU[Scope, *scopeMarks]
}

type scopeMarks struct {
	all  uint64
	tags *simplelru.LRU[string, uint64]
}

// Bounds of what is remembered: with tags of the greatest length some 40 MiB.
const (
	rememberedScopes = 4096
	rememberedTags   = 64
)

func newMarks() *marks {
	m := &marks{}
	m.scopes = newLRU(rememberedScopes, func(_ Scope, s *scopeMarks) { m.all = max(m.all, s.last()) })
	return m
}

// last is the mark that is at least as high as any other of the scope.
func (s *scopeMarks) last() uint64 {
	last := s.all
	for _, mark := range s.tags.Values() {
		last = max(last, mark)
	}
	return last
}

func newLRU[K comparable, V any](size int, evicted func(K, V)) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU(size, evicted)
	if err != nil {
		panic(err) // The size is not positive: a mistake in this program.
	}
	return lru
}

// now is what a fetch that begins is marked with.
func (m *marks) now() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// invalidate makes what has begun invalid.
func (m *marks) invalidate(scope Scope, what Invalidation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	s, known := m.scopes.Get(scope)
	if !known {
		s = &scopeMarks{}
		s.tags = newLRU(rememberedTags, func(_ string, mark uint64) { s.all = max(s.all, mark) })
		m.scopes.Add(scope, s)
	}
	if what.All {
		s.all = m.count
	}
	for _, tag := range what.Tags {
		s.tags.Add(tag, m.count)
	}
}

// valid is whether nothing that concerns a result was invalidated since its fetch began.
func (m *marks) valid(scope Scope, tags []string, began uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if began < m.all {
		return false
	}
	s, known := m.scopes.Get(scope)
	if !known {
		return true
	}
	for _, tag := range tags {
		if mark, known := s.tags.Get(tag); known && began < mark {
			return false
		}
	}
	return began >= s.all
}
