// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// loginTime is what a login takes a pooler. Time is played: nothing here waits.
const loginTime = 5 * time.Millisecond

var (
	turnPool = edge.Pool{Namespace: "web", Name: "shop", Label: "shop-web"}
	right    = edge.Login{User: "app", Password: clientPassword}
	guesser  = netip.MustParseAddr("192.0.2.66")
	user     = netip.MustParseAddr("192.0.2.1")
)

// guess has a caller try passwords, in as many goroutines, until the context ends.
func guess(ctx context.Context, turns *edge.Turns, caller func(i int) netip.Addr, goroutines int) (tried *atomic.Int64, wait func()) {
	tried = new(atomic.Int64)
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				login := edge.Login{User: "app", Password: fmt.Sprint("guess ", i, n)}
				err := turns.TakeTurn(ctx, turnPool, caller(i), login, false, func() { tried.Add(1); time.Sleep(loginTime) })
				if refusal, ok := errors.AsType[*edge.Refusal](err); ok {
					time.Sleep(refusal.RetryAfter / 10) // It is impatient.
				}
			}
		})
	}
	return tried, all.Wait
}

func TestAGuesserGetsFewTriesHoweverManyItSendsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		tried, wait := guess(ctx, &turns, func(int) netip.Addr { return guesser }, 100)
		wait()
		// At first a few for free and at once, then one in two seconds.
		if n := tried.Load(); n > 45 || n < 30 {
			t.Errorf("in a minute it has had %d tries", n)
		}
	})
}

func TestManyGuessersOfOneUserShareItsTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		const callers = 100
		tried, wait := guess(ctx, &turns, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 3, byte(i)}) }, callers)
		wait()
		// Each has its first, all together four a second.
		if n := tried.Load(); n > callers+4*60+10 {
			t.Errorf("in a minute they have had %d tries", n)
		}
	})
}

func TestAnIPv6SiteIsOneCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		tried, wait := guess(ctx, &turns, func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)) }, 100)
		wait()
		if n := tried.Load(); n > 45 {
			t.Errorf("in a minute it has had %d tries", n)
		}
	})
}

func TestARightPasswordIsHeldUpByGuessesOfOthersForASecondOnceAndThenNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		ctx, stop := context.WithCancel(t.Context())
		// Guessers from everywhere, and from where the user is.
		_, wait := guess(ctx, &turns, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 4, byte(i)}) }, 200)
		time.Sleep(10 * time.Second)
		if took := timed(t, &turns, user); took > 1200*time.Millisecond {
			t.Errorf("its first login has taken %v", took)
		}
		_, waitForNeighbours := guess(ctx, &turns, func(int) netip.Addr { return user }, 100)
		time.Sleep(10 * time.Second)
		for range 100 {
			if took := timed(t, &turns, user); took > 4*loginTime {
				t.Fatalf("a later login has taken %v", took)
			}
		}
		stop()
		wait()
		waitForNeighbours()
	})
}

func timed(t *testing.T, turns *edge.Turns, caller netip.Addr) time.Duration {
	t.Helper()
	begun := time.Now()
	if err := turns.TakeTurn(t.Context(), turnPool, caller, right, true, func() { time.Sleep(loginTime) }); err != nil {
		t.Fatalf("a right password is refused: %v", err)
	}
	return time.Since(begun)
}

func TestManyLoginsAtOnceAllGetTheirTurnAndAPoolerHasFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		var all sync.WaitGroup
		var now, most atomic.Int64
		for range 500 {
			all.Go(func() {
				if err := turns.TakeTurn(t.Context(), turnPool, user, right, true, func() {
					for n := now.Add(1); ; {
						if seen := most.Load(); n <= seen || most.CompareAndSwap(seen, n) {
							break
						}
					}
					time.Sleep(loginTime)
					now.Add(-1)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most.Load() != 16 {
			t.Errorf("%d were under way at once", most.Load())
		}
		if turns.Waiting() != 0 {
			t.Errorf("%d gates are left", turns.Waiting())
		}
	})
}

func TestFailuresAreForgottenInTimeAndMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		fail := func(caller netip.Addr, user string) error {
			return turns.TakeTurn(t.Context(), turnPool, caller, edge.Login{User: user, Password: "guess"}, false, func() {})
		}
		for range 20 {
			_ = fail(guesser, "app")
		}
		time.Sleep(11 * time.Minute)
		begun := time.Now()
		_ = fail(guesser, "app")
		if took := time.Since(begun); took > 0 {
			t.Errorf("after eleven minutes it has waited %v", took)
		}
		for i := range 40_000 {
			_ = fail(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint("user", i))
		}
		if n := turns.Remembered(); n > 2*16384 {
			t.Errorf("%d callers and users are remembered", n)
		}
	})
}

func TestWhoWouldWaitLongIsToldWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns edge.Turns
		fail := func() error {
			return turns.TakeTurn(t.Context(), turnPool, guesser, edge.Login{User: "app", Password: "guess"}, false, func() {})
		}
		for range 20 {
			_ = fail()
		}
		var all sync.WaitGroup
		var refused atomic.Int64
		for range 4 {
			all.Go(func() {
				refusal, ok := errors.AsType[*edge.Refusal](fail())
				if ok && refusal.Status == http.StatusTooManyRequests && refusal.RetryAfter > 4*time.Second {
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if refused.Load() == 0 {
			t.Error("nobody is refused")
		}
	})
}
