// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// atOnce is how many requests the Worker gets at once.
const atOnce = 500

// flooded is what became of requests that came at once.
type flooded struct {
	served int
	// failed are the others by what the application saw.
	failed map[string]int
	// all is the time until the last was answered.
	all  time.Duration
	seen load.Seen
}

// floods are the ways of which each is taken by all requests at once.
var floods = []struct{ driver, way string }{
	{"pg", verified},
	{"postgres", verified},
	{"prisma-pg", verified},
	{"pg", hyperdriveTLS},
	{"neon-http", gateway},
	{"neon-client", gateway},
	{"prisma-neon", gateway},
	{"pg", direct},
}

// flood has every request open a client of its own. Through the pool all are served
// by its share of the server; by themselves they take all that the server has, and
// most of them fail.
func (s *shop) flood(t *testing.T) {
	table := fmt.Sprintf("%d requests at once, each a client of its own; the pool has %d of %d connections:\n%-12s %-15s %7s %7s %9s %7s  %s",
		atOnce, share, maxConnections, "driver", "way", "served", "failed", "backends", "s", "what the application saw")
	s.get(t, s.pool)
	for _, one := range floods {
		f := s.floods(t, one.driver, one.way)
		table += fmt.Sprintf("\n%-12s %-15s %7d %7d %9d %7.1f  %s",
			one.driver, one.way, f.served, atOnce-f.served, f.seen.Largest, f.all.Seconds(), f.failures())
		t.Run(one.driver+" by "+one.way, func(t *testing.T) { s.judges(t, f, one.way == direct) })
	}
	t.Log(table)
}

// judges expects that the pool kept to its share and that nobody lost by it. Beyond it
// there may be one login in flight for each pooler, and the operator's own look at the
// server for each of the two pools.
func (s *shop) judges(t *testing.T, f flooded, direct bool) {
	t.Helper()
	limit := share + int(*s.pool.Status.ReadyReplicas) + 2
	switch {
	case direct && f.served == atOnce:
		t.Errorf("none of %d requests failed: they are no load to speak of", atOnce)
	case direct:
	case f.served < atOnce:
		t.Errorf("%d of %d requests failed: %s", atOnce-f.served, atOnce, f.failures())
	case f.seen.Largest > limit:
		t.Errorf("the server saw %d backends, want at most %d", f.seen.Largest, limit)
	}
}

// floods sends the requests and watches the server meanwhile.
func (s *shop) floods(t *testing.T, driver, way string) flooded {
	t.Helper()
	watch, err := load.Watch(t.Context(), s.server.AdminURL(), s.dialer.DialContext, "shop")
	if err != nil {
		t.Fatal(err)
	}
	f := s.rush(t, driver, way)
	if f.seen, err = watch.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// rush sends the requests.
func (s *shop) rush(t *testing.T, driver, way string) flooded {
	t.Helper()
	errs := make([]error, atOnce)
	began := time.Now()
	var requests sync.WaitGroup
	for i := range atOnce {
		requests.Go(func() {
			var rows []struct{ Work string }
			errs[i] = s.worker.ask(t.Context(), driver, way, "work", "", &rows)
			if errs[i] == nil && (len(rows) != 1 || rows[0].Work != "done") {
				errs[i] = fmt.Errorf("the answer is %v", rows)
			}
		})
	}
	requests.Wait()
	f := flooded{failed: map[string]int{}, all: time.Since(began)}
	for _, err := range errs {
		f.count(err)
	}
	return f
}

func (f *flooded) count(err error) {
	var seen *problem
	switch {
	case err == nil:
		f.served++
	case errors.As(err, &seen) && seen.Code != "":
		f.failed[seen.Code+" "+seen.Database]++
	default:
		f.failed[err.Error()]++
	}
}

func (f *flooded) failures() string {
	var all []string
	for what, times := range f.failed {
		all = append(all, fmt.Sprintf("%d × %s", times, what))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
