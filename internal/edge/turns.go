// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// How logins take turns. A password that was right lately, from wherever it comes, waits
// for nobody but the logins that are under way. Others are strangers: who fails, by
// caller and by user, waits ever longer before the next try. A stranger who has not
// failed itself waits for the failures of others no longer than strangerPatience, so
// that nobody can lock another out.
const (
	// loginsPerPool are under way at once: PgBouncer has one thread, and runs SCRAM in it.
	loginsPerPool = 16
	// strangersPerPool leave room for those who are known.
	strangersPerPool = loginsPerPool / 2
	// guessesAtOnce are those of one caller at one pool.
	guessesAtOnce = 4

	// freeFailures are for mistakes; each that follows doubles the delay from firstDelay.
	freeFailures = 3
	firstDelay   = 100 * time.Millisecond
	// callerDelay and userDelay are the longest between two tries. Many callers may be
	// one guesser, so that four tries a second are left for a user over all of them.
	callerDelay = 2 * time.Second
	userDelay   = 250 * time.Millisecond
	// Who would have to wait longer is refused.
	patience         = 2 * callerDelay
	strangerPatience = time.Second

	// forgetFailures is how long after the last one they are forgotten.
	forgetFailures = 10 * time.Minute
	// remembered bounds each table, whose entries have some 100 bytes.
	remembered = 16384
)

// attempt is a login, with nothing of it that could be read.
type attempt struct {
	pool, caller, user, secret uint64
}

// seed is the process's own: nobody else can compute what the tables hold.
var seed = maphash.MakeSeed()

func newAttempt(pool Pool, caller netip.Addr, login Login) attempt {
	id := poolID{pool.Namespace, pool.Name}
	return attempt{
		pool: maphash.Comparable(seed, id),
		caller: maphash.Comparable(seed, struct {
			poolID
			netip.Addr
		}{id, NetworkOf(caller)}),
		user:   maphash.Comparable(seed, [3]string{id.namespace, id.name, login.User}),
		secret: maphash.Comparable(seed, [4]string{id.namespace, id.name, login.User, login.Password}),
	}
}

// turns decide when a login goes to the poolers. The zero value is ready.
type turns struct {
	pools, strangers, guesses gates

	mu      sync.Mutex
	known   *simplelru.LRU[uint64, struct{}]
	callers *simplelru.LRU[uint64, *failures]
	users   *simplelru.LRU[uint64, *failures]
}

// take logs in when it is the attempt's turn. The error is that of the login, the
// context's, or a *Refusal.
func (t *turns) take(ctx context.Context, a attempt, login func() error) error {
	if t.knows(a) {
		return t.log(ctx, a, login)
	}
	done, err := t.guesses.enter(ctx, a.caller, guessesAtOnce)
	if err != nil {
		return err
	}
	defer done()
	if t.knows(a) {
		done() // One of many with this password was first.
		return t.log(ctx, a, login)
	}
	if err := t.delay(ctx, a); err != nil {
		return err
	}
	left, err := t.strangers.enter(ctx, a.pool, strangersPerPool)
	if err != nil {
		return err
	}
	defer left()
	return t.log(ctx, a, login)
}

func (t *turns) log(ctx context.Context, a attempt, login func() error) error {
	left, err := t.pools.enter(ctx, a.pool, loginsPerPool)
	if err != nil {
		return err
	}
	defer left()
	err = login()
	switch {
	case err == nil:
		t.remember(a)
	case wrongPassword(err):
		t.fail(a, time.Now())
	}
	return err
}

func (t *turns) delay(ctx context.Context, a attempt) error {
	wait, err := t.book(a, time.Now())
	if err != nil || wait == 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) knows(a attempt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		return false
	}
	_, known := t.known.Get(a.secret)
	return known
}

func (t *turns) remember(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepare()
	t.known.Add(a.secret, struct{}{})
}

// prepare makes the tables; mu is held.
func (t *turns) prepare() {
	if t.known == nil {
		t.known = newLRU[uint64, struct{}](remembered)
		t.callers, t.users = newLRU[uint64, *failures](remembered), newLRU[uint64, *failures](remembered)
	}
}

// book says how long an attempt waits, and keeps what comes after it waiting longer.
func (t *turns) book(a attempt, now time.Time) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepare()
	own, others := recall(t.callers, a.caller, now), recall(t.users, a.user, now)
	wait, forOthers := own.wait(now), others.wait(now)
	if own.count == 0 && forOthers > strangerPatience {
		return strangerPatience, nil
	}
	if wait = max(wait, forOthers); wait > patience {
		return 0, &Refusal{
			Status: http.StatusTooManyRequests, Code: codeInvalidAuthorization, RetryAfter: wait,
			Message: fmt.Sprintf("too many logins have failed, from your address or as this user; try again in %v", wait.Round(time.Second)),
		}
	}
	own.next, others.next = now.Add(wait+own.delay(callerDelay)), now.Add(wait+others.delay(userDelay))
	return wait, nil
}

// fail counts a wrong password.
func (t *turns) fail(a attempt, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepare()
	t.known.Remove(a.secret) // It was right once, perhaps.
	own, others := recall(t.callers, a.caller, now), recall(t.users, a.user, now)
	own.add(now, callerDelay)
	others.add(now, userDelay)
	t.callers.Add(a.caller, own)
	t.users.Add(a.user, others)
}

// failures are those of a caller or of a user.
type failures struct {
	count int
	last  time.Time
	// next is when the next try may be.
	next time.Time
}

// recall returns the failures that count, which may be none.
func recall(table *simplelru.LRU[uint64, *failures], key uint64, now time.Time) *failures {
	if known, found := table.Get(key); found && now.Sub(known.last) < forgetFailures {
		return known
	}
	return &failures{}
}

func (f *failures) add(now time.Time, most time.Duration) {
	f.count, f.last = f.count+1, now
	if next := now.Add(f.delay(most)); next.After(f.next) {
		f.next = next
	}
}

func (f *failures) wait(now time.Time) time.Duration { return max(0, f.next.Sub(now)) }

func (f *failures) delay(most time.Duration) time.Duration {
	if f.count <= freeFailures {
		return 0
	}
	return min(firstDelay<<min(f.count-freeFailures-1, 10), most)
}
