// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/postgres"
)

// world plays names that lead to servers, and looks that take their time.
type world struct {
	now     int
	started int
	// leads is which server each name leads to; 0 is none that answers.
	leads  map[string]int
	sights map[string]Sight
	server Server
}

var names = []string{"a", "b", "c"}

func newWorld() *world {
	w := &world{leads: map[string]int{}, sights: map[string]Sight{}, server: Server{Identity: server("s", 1)}, started: 1}
	for _, name := range names {
		w.leads[name] = 1
		w.sights[name] = Sight{Endpoint: name, Identity: w.server.Identity}
	}
	return w
}

// move lets names lead to a server that has just been started.
func (w *world) move(moved ...string) {
	w.started++
	for _, name := range moved {
		w.leads[name] = w.started
	}
}

func (w *world) tick() { w.now++ }

// look lets others act between its beginning and the answer, and the answer and its end.
func (w *world) look(name string, meanwhile func()) {
	began := w.now
	meanwhile()
	sight := w.sights[name]
	sight.Began, sight.Answered = at(began), w.leads[name] > 0
	seen := server("s", w.leads[name])
	meanwhile()
	if sight.Answered && !sight.Identity.Same(seen) {
		sight.Since = at(w.now)
	}
	if sight.Answered {
		sight.Identity = seen
	}
	w.sights[name] = sight
	w.tick()
}

// judge writes down what a verdict says, as the reconciler does.
func (w *world) judge() Verdict {
	var sights []Sight
	for _, name := range names {
		sights = append(sights, w.sights[name])
	}
	v := Judge(w.server, sights, at(w.now))
	if !v.Identity.Same(w.server.Identity) {
		w.server = Server{Identity: v.Identity, Since: at(w.now)}
	}
	w.tick()
	return v
}

// settle makes the looks that are asked for until there are none.
func (w *world) settle(t *rapid.T) Verdict {
	for range 20 {
		v := w.judge()
		if len(v.Ask) == 0 {
			return v
		}
		for name := range v.Ask {
			w.look(name, w.tick)
		}
	}
	t.Fatal("looks are asked for without end")
	return Verdict{}
}

func TestNamesThatAlwaysMoveTogetherAreNeverParted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		// Elsewhere, a move happens at any moment, but always of all names that answer.
		moves := func() {
			if w.tick(); rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
				w.move(names...)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			if rapid.IntRange(0, 3).Draw(t, "answers") == 0 {
				was := w.leads[name]
				w.leads[name] = 0
				w.look(name, w.tick)
				w.leads[name] = was
			} else {
				w.look(name, moves)
			}
			if v := w.judge(); len(v.Leave) > 0 {
				t.Fatalf("%v were parted from the others: %+v", v.Leave, w.sights)
			}
		}
		w.look(names[0], w.tick)
		if v := w.settle(t); !v.Identity.Same(server("s", w.leads[names[0]])) {
			t.Fatalf("the Upstream stayed %+v", v.Identity)
		}
	})
}

func TestNamesThatLeadElsewhereLeaveAndTheOthersStay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "moves") {
				w.move(rapid.SampledFrom(names).Draw(t, "moved"))
			}
			w.look(rapid.SampledFrom(names).Draw(t, "looked"), w.tick)
			w.judge()
		}
		for _, name := range names {
			w.look(name, w.tick)
		}
		v := w.settle(t)
		leaving := map[string]bool{}
		for _, name := range v.Leave {
			leaving[name] = true
		}
		for _, name := range names {
			if stays := v.Identity.Same(server("s", w.leads[name])); stays == leaving[name] {
				t.Fatalf("%s leads to server %d and leaves: %v; the Upstream is %s", name, w.leads[name], leaving[name], started(v.Identity))
			}
		}
	})
}

func started(i postgres.Identity) string {
	return fmt.Sprint("server ", i.StartTime.Sub(at(-1000)).Seconds())
}
