// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func tagged(tags ...string) Policy {
	return Policy{TTL: time.Minute, SWR: time.Minute, Tags: tags}
}

func TestATagInvalidatesWhatHasItAndNothingElse(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.ScopeOf("another")
		w.expect(tagged("a", "b"), Miss, "result 1")
		w.expect(tagged("c"), Miss, "result 2")
		w.expectIn(other, tagged("a"), Miss, "result 3")
		w.Invalidate(w.scope, Invalidation{Tags: []string{"b", "z"}})
		w.expect(tagged("a", "b"), Miss, "result 4")
		w.expect(tagged("a", "b"), Fresh, "result 4")
		w.expect(tagged("c"), Fresh, "result 2")
		w.expectIn(other, tagged("a"), Fresh, "result 3")
	})
}

func TestAllOfAScopeIsInvalidatedAndNoOther(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.ScopeOf("another")
		w.expect(tagged("a"), Miss, "result 1")
		w.expect(minute, Miss, "result 2")
		w.expectIn(other, tagged("a"), Miss, "result 3")
		w.Invalidate(w.scope, Invalidation{All: true})
		w.expect(tagged("a"), Miss, "result 4")
		w.expect(minute, Miss, "result 5")
		w.expectIn(other, tagged("a"), Fresh, "result 3")
	})
}

func TestWhoInvalidatesDoesNotGetWhatWasAskedForBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		before := s.ask(w.t.Context(), tagged("a"))
		s.Invalidate(w.scope, Invalidation{Tags: []string{"a"}})
		after := s.ask(w.t.Context(), tagged("a"))
		s.answer <- "one" // Either may take it: both are asked.
		s.answer <- "two"
		<-before
		<-after
		if asked := s.asked.Load(); asked != 2 {
			t.Fatalf("the server was asked %d times", asked)
		}
		again := s.ask(w.t.Context(), tagged("a"))
		if got := <-again; got.Status != Fresh {
			t.Errorf("what was asked for afterwards is not kept: %+v", got)
		}
	})
}

func TestAResultThatWasInvalidatedOnItsWayIsNotKept(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		out := s.ask(w.t.Context(), tagged("a"))
		s.Invalidate(w.scope, Invalidation{All: true})
		s.answer <- "one"
		s.got(out, Miss, "one")
		next := s.ask(w.t.Context(), tagged("a"))
		s.answer <- "two"
		s.got(next, Miss, "two")
	})
}

func TestAnOldResultThatIsInvalidatedIsNotGivenAway(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.slow()
		s.old(minute)
		s.got(s.ask(w.t.Context(), minute), Stale, "old")
		s.Invalidate(w.scope, Invalidation{All: true})
		next := s.ask(w.t.Context(), minute)
		s.answer <- "one"
		s.answer <- "two"
		synctest.Wait()
		if got := <-next; got.Status != Miss {
			t.Errorf("it gets %+v", got)
		}
	})
}

func TestWhatIsForgottenMakesNothingValidAgain(t *testing.T) {
	m := newMarks()
	scope := Scope{1}
	before := m.now()
	m.invalidate(scope, Invalidation{Tags: []string{"a"}})
	for i := range rememberedTags + 1 {
		m.invalidate(scope, Invalidation{Tags: []string{fmt.Sprint(i)}})
	}
	if m.valid(scope, []string{"a"}, before) {
		t.Error("a tag that was forgotten is valid again")
	}
	if !m.valid(Scope{2}, []string{"a"}, before) {
		t.Error("another scope pays for it")
	}
	for i := range rememberedScopes + 1 {
		m.invalidate(Scope{3, byte(i), byte(i >> 8)}, Invalidation{Tags: []string{"b"}})
	}
	if m.valid(scope, []string{"a"}, before) {
		t.Error("a scope that was forgotten is valid again")
	}
	if !m.valid(scope, []string{"a"}, m.now()) {
		t.Error("nothing is valid any more")
	}
}

// TestForgettingOnlyEverInvalidates compares marks with one that forgets nothing.
func TestForgettingOnlyEverInvalidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, exact := newMarks(), map[string]uint64{}
		m.scopes.Resize(3)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			scope := Scope{byte(rapid.IntRange(0, 5).Draw(t, "scope"))}
			tag := fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "tag"))
			m.invalidate(scope, Invalidation{Tags: []string{tag}})
			exact[fmt.Sprint(scope, tag)] = m.now()
			asked := Scope{byte(rapid.IntRange(0, 5).Draw(t, "of"))}
			of := fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "with"))
			began := uint64(rapid.IntRange(0, int(m.now())).Draw(t, "began"))
			if m.valid(asked, []string{of}, began) && began < exact[fmt.Sprint(asked, of)] {
				t.Fatalf("%v of %v, begun at %d, is valid in spite of %d", of, asked, began, exact[fmt.Sprint(asked, of)])
			}
		}
	})
}
