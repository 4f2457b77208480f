// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/poolfleet/poolfleet/internal/identity"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// looks remembers which server each pool's looks showed, and which looks are asked
// for. It lives in memory: a manager that starts looks anew.
type looks struct {
	mu     sync.Mutex
	sights map[types.NamespacedName]identity.Sight
	asked  map[types.NamespacedName]time.Time
	// written is since when each Upstream's identity stands as it does.
	written map[string]writtenIdentity
}

type writtenIdentity struct {
	identity postgres.Identity
	since    time.Time
}

func newLooks() *looks {
	return &looks{
		sights: map[types.NamespacedName]identity.Sight{}, asked: map[types.NamespacedName]time.Time{},
		written: map[string]writtenIdentity{},
	}
}

// note keeps what a look came to. One that declared numbers stand in for, like one
// that failed, saw no server.
func (l *looks) note(pool types.NamespacedName, record Record, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sight := l.sights[pool]
	if sight.Endpoint != record.Endpoint {
		sight = identity.Sight{Endpoint: record.Endpoint}
	}
	sight.Began, sight.Answered = began, record.answered()
	if seen := record.Observation.Identity(); sight.Answered {
		if !seen.Same(sight.Identity) {
			sight.Since = record.ProbedAt
		}
		sight.Identity = seen
	}
	l.sights[pool] = sight
}

// sight is what a pool's newest look at an endpoint came to. Before the first, the
// endpoint is taken to lead to the server that is written.
func (l *looks) sight(pool types.NamespacedName, endpoint string, written postgres.Identity) identity.Sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	sight := l.sights[pool]
	if sight.Endpoint != endpoint {
		sight = identity.Sight{Endpoint: endpoint}
	}
	if !sight.Identity.Known() {
		sight.Identity = written
	}
	return sight
}

// ask has a pool look again unless it has since.
func (l *looks) ask(pool types.NamespacedName, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked[pool].Before(since) {
		l.asked[pool] = since
	}
}

// due reports whether a pool was asked to look again and has not yet.
func (l *looks) due(pool types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sights[pool].Began.Before(l.asked[pool])
}

// writtenSince is when an Upstream's identity was first read as it stands.
func (l *looks) writtenSince(upstream string, written postgres.Identity, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.written[upstream]
	if !ok || known.identity != written {
		known = writtenIdentity{identity: written, since: now}
		l.written[upstream] = known
	}
	return known.since
}

func (l *looks) forgetPool(pool types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sights, pool)
	delete(l.asked, pool)
}

func (l *looks) forgetServer(upstream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, upstream)
}
