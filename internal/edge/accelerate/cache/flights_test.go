// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a server that answers when it is told to.
type slow struct {
	*world
	answer chan string
	ended  chan error
}

func (w *world) slow() *slow {
	return &slow{world: w, answer: make(chan string), ended: make(chan error, 8)}
}

func (s *slow) serve(ctx context.Context) ([]byte, error) {
	s.asked.Add(1)
	select {
	case text := <-s.answer:
		return []byte(text), nil
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

type outcome struct {
	Answer
	err error
}

// ask asks in the background, and waits until that waits.
func (s *slow) ask(ctx context.Context, policy Policy) chan outcome {
	out := make(chan outcome, 1)
	go func() {
		answer, err := s.Get(ctx, s.scope, Digest{}, policy, s.serve)
		out <- outcome{answer, err}
	}()
	synctest.Wait()
	return out
}

func (s *slow) got(from chan outcome, status Status, body string) {
	s.t.Helper()
	if got := <-from; got.err != nil || got.Status != status || string(got.Body) != body {
		s.t.Errorf("it gets %q, %q, %v; it should get %q, %q", got.Status, got.Body, got.err, status, body)
	}
}

func TestWhatManyAskForAtATimeIsFetchedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		first, second, third := s.ask(w.t.Context(), minute), s.ask(w.t.Context(), minute), s.ask(w.t.Context(), minute)
		s.answer <- "one"
		for _, out := range []chan outcome{first, second, third} {
			s.got(out, Miss, "one")
		}
		if asked := s.asked.Load(); asked != 1 {
			t.Errorf("the server was asked %d times", asked)
		}
	})
}

func TestAClientThatGoesFailsNobodyElse(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		leaving, leave := context.WithCancel(w.t.Context())
		first, second := s.ask(leaving, minute), s.ask(w.t.Context(), minute)
		leave()
		if got := <-first; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who has gone gets %v", got.err)
		}
		s.answer <- "one"
		s.got(second, Miss, "one")
	})
}

func TestAFetchEndsWhenNobodyWaitsForItAnyMore(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		leaving, leave := context.WithCancel(w.t.Context())
		first, second := s.ask(leaving, minute), s.ask(leaving, minute)
		leave()
		<-first
		<-second
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the fetch ends with %v", err)
		}
		next := s.ask(w.t.Context(), minute)
		s.answer <- "two"
		s.got(next, Miss, "two")
	})
}

func TestAFetchThatTakesTooLongEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		out := s.ask(w.t.Context(), minute)
		if got := <-out; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("it gets %v", got.err)
		}
	})
}

// kept fills the cache, and lets the result grow old.
func (s *slow) old(policy Policy) {
	s.t.Helper()
	out := s.ask(s.t.Context(), policy)
	s.answer <- "old"
	s.got(out, Miss, "old")
	time.Sleep(policy.TTL + 1)
}

func TestAnOldResultIsFetchedAgainOnceHoweverManyAskForIt(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		s.old(minute)
		for range 5 {
			s.got(s.ask(w.t.Context(), minute), Stale, "old")
		}
		s.answer <- "new"
		synctest.Wait()
		s.got(s.ask(w.t.Context(), minute), Fresh, "new")
		if asked := s.asked.Load(); asked != 2 {
			t.Errorf("the server was asked %d times", asked)
		}
	})
}

func TestRefreshingInTheBackgroundHasABound(t *testing.T) {
	within(t, Limits{Bytes: 1 << 20, EntryBytes: 1 << 16, Refreshes: 1, Timeout: time.Hour}, func(w *world) {
		s := w.slow()
		minute := Policy{TTL: time.Minute, SWR: time.Hour}
		tagged := Policy{TTL: time.Minute, SWR: time.Hour, Tags: []string{"a"}}
		s.old(minute)
		out := s.ask(w.t.Context(), tagged)
		s.answer <- "old"
		s.got(out, Miss, "old")
		time.Sleep(minute.TTL)
		s.got(s.ask(w.t.Context(), minute), Stale, "old")
		s.got(s.ask(w.t.Context(), tagged), Stale, "old")
		if asked := s.asked.Load(); asked != 3 {
			t.Errorf("the server was asked %d times with one refresh at a time", asked)
		}
		s.answer <- "new"
		synctest.Wait()
		s.got(s.ask(w.t.Context(), tagged), Stale, "old")
		s.answer <- "new"
		synctest.Wait()
		s.got(s.ask(w.t.Context(), tagged), Fresh, "new")
	})
}

func TestWhoJoinsARefreshAndGoesDoesNotEndIt(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		brief := Policy{TTL: time.Minute, SWR: 10 * time.Second}
		s.old(brief)
		s.got(s.ask(w.t.Context(), brief), Stale, "old")
		time.Sleep(brief.SWR)
		leaving, leave := context.WithCancel(w.t.Context())
		joined := s.ask(leaving, brief)
		leave()
		if got := <-joined; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who has gone gets %+v", got)
		}
		select {
		case s.answer <- "new":
		case err := <-s.ended:
			t.Fatalf("the refresh has ended: %v", err)
		}
		synctest.Wait()
		s.got(s.ask(w.t.Context(), brief), Fresh, "new")
	})
}

func TestTheEndOfTheGatewayEndsWhatIsBeingFetched(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		s.old(minute)
		s.got(s.ask(w.t.Context(), minute), Stale, "old")
		s.Close()
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the fetch ends with %v", err)
		}
	})
}

func TestAMistakeInAFetchIsMetWhereSomebodyWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		defer func() {
			if recover() == nil {
				t.Error("nobody hears of it")
			}
		}()
		_, _ = w.Get(w.t.Context(), w.scope, Digest{}, minute, func(context.Context) ([]byte, error) { panic("a mistake") })
	})
}

func TestAMistakeInTheBackgroundIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expect(minute, Miss, "result 1")
		time.Sleep(90 * time.Second)
		answer, err := w.Get(w.t.Context(), w.scope, DigestOf([]byte("query")), minute, func(context.Context) ([]byte, error) { panic("a mistake") })
		if err != nil || answer.Status != Stale {
			t.Errorf("it answers %+v, %v", answer, err)
		}
		synctest.Wait()
		if w.failed.Load() != 1 {
			t.Error("nobody hears of it")
		}
	})
}
