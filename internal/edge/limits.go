// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// CallerLimits bound what one caller may ask of this gateway, over all pools. Zeros
// bound nothing. Workers share the addresses of who runs them, so that a caller may be many.
type CallerLimits struct {
	// Concurrency is how many requests and WebSockets may be under way.
	Concurrency int
	// Rate is how many may begin in a second, and Burst how many of them at once.
	Rate  float64
	Burst int
}

// DefaultCallerLimits are those of the gateway's flags.
var DefaultCallerLimits = CallerLimits{Concurrency: 1000, Rate: 2000, Burst: 4000}

// Limiter bounds what pools and callers have under way.
type Limiter struct {
	Caller CallerLimits

	mu      sync.Mutex
	pools   map[string]int
	callers map[netip.Addr]int
	rates   *simplelru.LRU[netip.Addr, *rate.Limiter]
}

// rememberedCallers bounds the memory of rates, to a few hundred bytes each. Who is
// forgotten begins anew with a whole burst.
const rememberedCallers = 16384

// Admit lets a request or a WebSocket in until release is called. The error is a
// *Refusal with status 429.
func (l *Limiter) Admit(pool Pool, caller netip.Addr) (release func(), err error) {
	caller = NetworkOf(caller)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuse(pool, caller); err != nil {
		return nil, err
	}
	if l.pools == nil {
		l.pools, l.callers = map[string]int{}, map[netip.Addr]int{}
	}
	l.pools[pool.Label]++
	l.callers[caller]++
	released := false
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !released {
			released = true
			leave(l.pools, pool.Label)
			leave(l.callers, caller)
		}
	}, nil
}

// refuse says why the limits let nothing more in. Only what is let in counts as begun.
func (l *Limiter) refuse(pool Pool, caller netip.Addr) error {
	if l.pools[pool.Label] >= pool.MaxConcurrency {
		return busy(time.Second, "Try again, or raise spec.edge.maxConcurrency.",
			"pool %s has %d requests and WebSockets under way, as many as it may", pool.Label, pool.MaxConcurrency)
	}
	if most := l.Caller.Concurrency; most > 0 && l.callers[caller] >= most {
		return busy(time.Second, "Try again, or raise the gateway's --caller-concurrency.",
			"your address has %d requests and WebSockets under way, as many as it may", most)
	}
	if l.Caller.Rate <= 0 {
		return nil
	}
	// A reservation that has to wait is given back: who is refused does not pay for it.
	reservation := l.rate(caller).Reserve()
	if wait := reservation.Delay(); wait > 0 {
		reservation.Cancel()
		return busy(wait, "Try again, or raise the gateway's --caller-rate.",
			"your address begins more than %v requests and WebSockets a second, as many as it may", l.Caller.Rate)
	}
	return nil
}

func (l *Limiter) rate(caller netip.Addr) *rate.Limiter {
	if l.rates == nil {
		l.rates = newLRU[netip.Addr, *rate.Limiter](rememberedCallers)
	}
	known, found := l.rates.Get(caller)
	if !found {
		known = rate.NewLimiter(rate.Limit(l.Caller.Rate), max(1, l.Caller.Burst))
		l.rates.Add(caller, known)
	}
	return known
}

// underWay is how many requests and WebSockets of a pool there are.
func (l *Limiter) underWay(label string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pools[label]
}

func busy(after time.Duration, hint, message string, words ...any) *Refusal {
	return &Refusal{
		Status: http.StatusTooManyRequests, Code: codeTooMany, RetryAfter: after,
		Message: fmt.Sprintf(message, words...), Hint: hint,
	}
}

// leave takes one off, and forgets who has none.
func leave[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// newLRU keeps the most recently used.
func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // The size is not positive: a mistake in this program.
	}
	return lru
}
