// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// refusedWith429 is how long the limiter asks a caller to wait.
func refusedWith429(t *testing.T, err error) time.Duration {
	t.Helper()
	refusal, ok := errors.AsType[*edge.Refusal](err)
	if !ok || refusal.Status != http.StatusTooManyRequests || refusal.Code != "53300" || refusal.RetryAfter <= 0 || refusal.Hint == "" {
		t.Fatalf("it says %#v", err)
	}
	return refusal.RetryAfter
}

func admit(t *testing.T, l *edge.Limiter, pool edge.Pool, caller string) func() {
	t.Helper()
	release, err := l.Admit(pool, netip.MustParseAddr(caller))
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestAPoolHasNoMoreUnderWayThanItMay(t *testing.T) {
	var l edge.Limiter
	one, other := edge.Pool{Label: "one", MaxConcurrency: 2}, edge.Pool{Label: "other", MaxConcurrency: 1}
	release := admit(t, &l, one, "192.0.2.1")
	admit(t, &l, one, "192.0.2.2")
	_, err := l.Admit(one, netip.MustParseAddr("192.0.2.3"))
	refusedWith429(t, err)
	admit(t, &l, other, "192.0.2.3")
	release()
	release() // Twice is once.
	admit(t, &l, one, "192.0.2.3")
	_, err = l.Admit(one, netip.MustParseAddr("192.0.2.3"))
	refusedWith429(t, err)
}

func TestACallerHasNoMoreUnderWayThanItMayWhicheverAddressesOfItsSiteItTakes(t *testing.T) {
	l := edge.Limiter{Caller: edge.CallerLimits{Concurrency: 2}}
	pool := edge.Pool{Label: "one", MaxConcurrency: 1000}
	release := admit(t, &l, pool, "2001:db8::1")
	admit(t, &l, pool, "2001:db8::2")
	_, err := l.Admit(pool, netip.MustParseAddr("2001:db8::ffff:3"))
	refusedWith429(t, err)
	admit(t, &l, pool, "2001:db8:0:1::1")
	release()
	admit(t, &l, pool, "2001:db8::3")
}

func TestACallerBeginsNoMoreInASecondThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := edge.Limiter{Caller: edge.CallerLimits{Rate: 10, Burst: 20}}
		pool := edge.Pool{Label: "one", MaxConcurrency: 1000}
		begun := 0
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if release, err := l.Admit(pool, netip.MustParseAddr("192.0.2.1")); err == nil {
				begun++
				release()
			} else if wait := refusedWith429(t, err); wait > 100*time.Millisecond {
				t.Fatalf("it is to wait %v", wait)
			}
		}
		if begun < 115 || begun > 120 {
			t.Errorf("in ten seconds it has begun %d", begun)
		}
		admit(t, &l, pool, "192.0.2.2")
	})
}

func TestTheMemoryOfCallersIsBounded(t *testing.T) {
	l := edge.Limiter{Caller: edge.DefaultCallerLimits}
	pool := edge.Pool{Label: "one", MaxConcurrency: 1000}
	for i := range 40_000 {
		release, err := l.Admit(pool, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	if pools, callers, rates := l.Held(); pools+callers != 0 || rates > 16384 {
		t.Errorf("it holds %d pools, %d callers and %d rates", pools, callers, rates)
	}
}
