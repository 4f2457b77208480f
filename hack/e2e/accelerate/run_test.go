// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A run is all of the corpus by every way of a version.
type run struct {
	version version
	ways    []way
	cases   []string
	// outcomes are by way and case.
	outcomes [][]outcome
}

// outcome is what a case comes to.
type outcome string

// all runs every case by every way. The ways do not wait for each other: each has a
// database of its own.
func (r *run) all(t *testing.T) {
	t.Helper()
	var err error
	if r.cases, err = r.ways[0].runner.names(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.cases) < fewest {
		t.Errorf("the corpus has %d cases, fewer than %d", len(r.cases), fewest)
	}
	r.cases = slices.DeleteFunc(r.cases, func(name string) bool { return !strings.HasPrefix(name, *only) })
	r.outcomes = make([][]outcome, len(r.ways))
	problems := make([]error, len(r.ways))
	var running sync.WaitGroup
	for i, w := range r.ways {
		running.Go(func() { r.outcomes[i], problems[i] = w.all(t.Context(), r.cases) })
	}
	running.Wait()
	for i, err := range problems {
		if err != nil {
			t.Fatalf("running the corpus by way of %s: %v", r.ways[i].name, err)
		}
	}
}

func (w way) all(ctx context.Context, cases []string) ([]outcome, error) {
	outcomes := make([]outcome, len(cases))
	for i, name := range cases {
		if err := w.database.restore(ctx); err != nil {
			return nil, fmt.Errorf("restoring the rows before %q: %w", name, err)
		}
		result, err := w.runner.run(ctx, name)
		if err != nil {
			result = "there is no result: " + err.Error()
		}
		rows, err := w.database.contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the rows after %q: %w", name, err)
		}
		outcomes[i] = outcome(result + "\n\n" + rows + "\n")
	}
	return outcomes, nil
}

// judge compares what every case came to, and says how many agree.
func (r *run) judge(t *testing.T) {
	t.Helper()
	agreed, listed := 0, 0
	for i, name := range r.cases {
		x, isListed := exceptionFor(name, r.version)
		ok := t.Run(name, func(t *testing.T) { r.judgeCase(t, i, x, isListed) })
		switch {
		case ok && isListed:
			listed++
		case ok:
			agreed++
		}
	}
	t.Logf("Prisma %s: %d cases by %d ways: %d agree, %d are listed as exceptions", r.version.client, len(r.cases), len(r.ways), agreed, listed)
}

func (r *run) judgeCase(t *testing.T, i int, x exception, listed bool) {
	t.Helper()
	expected := r.outcomes[0][i]
	if r.version.executor {
		its := r.outcomes[1][i]
		official := !listed || x.like == nobody || x.like == inWorkerd // The two have to agree.
		switch differs := its != expected; {
		case !official && !differs:
			t.Errorf("it is listed as an exception (%s), but Prisma's executor agrees", x.why)
		case official && differs:
			t.Errorf("by way of %s it comes to something else (-%s +%s):\n%s", byExecutor, inProcess, byExecutor, difference(expected, its))
		case x.like == byExecutor:
			expected = its
		}
	}
	r.judgeGateway(t, i, x, expected)
}

// judgeGateway compares the last two ways, Node.js and workerd over the gateway, with
// what is expected of them.
func (r *run) judgeGateway(t *testing.T, i int, x exception, expected outcome) {
	t.Helper()
	node, worker := r.outcomes[len(r.ways)-2][i], r.outcomes[len(r.ways)-1][i]
	switch {
	case x.like == byExecutor && !r.version.executor:
		expected = node // Nobody says what is right, but that both are alike.
	case x.like == nobody:
		if node == expected {
			t.Errorf("it is listed as an exception (%s), but the gateway agrees", x.why)
		}
		expected = node
	}
	if node != expected {
		t.Errorf("by way of %s it comes to something else (-want +got):\n%s", inNode, difference(expected, node))
	}
	switch differs := worker != expected; {
	case x.like == inWorkerd && !differs:
		t.Errorf("it is listed as an exception (%s), but workerd agrees", x.why)
	case x.like != inWorkerd && differs:
		t.Errorf("by way of %s it comes to something else (-want +got):\n%s", inWorker, difference(expected, worker))
	}
}

// difference is by lines, and not longer than somebody would read.
func difference(a, b outcome) string {
	const most = 6000
	diff := cmp.Diff(strings.Split(string(a), "\n"), strings.Split(string(b), "\n"))
	return diff[:min(len(diff), most)]
}

// write puts every outcome in a file, for people to look at.
func (r *run) write(t *testing.T, directory string) {
	t.Helper()
	for i, w := range r.ways {
		for j, name := range r.cases {
			path := filepath.Join(directory, w.name, strings.ReplaceAll(name, "/", " ")+".txt")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(r.outcomes[i][j]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
