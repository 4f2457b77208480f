// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fewest is how many cases the corpus has at the least: one that lost its cases would
// agree with everything.
const fewest = 120

// bundles is where hack/accelerate.sh puts what it makes of testdata/corpus, in a
// directory for each version of Prisma.
const bundles = "../../../.cache/accelerate"

// A way is how the client comes to its results.
type way struct {
	name     string
	runner   runner
	database *database
}

// outcome is what a case comes to, and the rows that it leaves.
type outcome struct{ Result, Rows string }

func TestEveryCaseComesToTheSameByEveryWay(t *testing.T) {
	version := "7.10.0"
	directory, err := filepath.Abs(filepath.Join(bundles, version))
	if err == nil {
		_, err = os.Stat(filepath.Join(directory, "dist-node", "node.js"))
	}
	if err != nil {
		t.Fatalf("finding the corpus for Prisma %s, which `make .cache/stamps/accelerate` brings: %v", version, err)
	}
	postgres := aServer(t)
	ways := []way{direct(t, postgres, directory), executor(t, postgres, directory)}
	names, err := ways[0].runner.names()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < fewest {
		t.Errorf("the corpus has %d cases, fewer than %d", len(names), fewest)
	}
	outcomes := runAll(t, ways, names)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(strings.Split(outcomes[0][i].Result, "\n"), strings.Split(outcomes[1][i].Result, "\n")); diff != "" {
				t.Errorf("result (-%s +%s):\n%s", ways[0].name, ways[1].name, diff)
			}
			if diff := cmp.Diff(strings.Split(outcomes[0][i].Rows, "\n"), strings.Split(outcomes[1][i].Rows, "\n")); diff != "" {
				t.Errorf("rows (-%s +%s):\n%s", ways[0].name, ways[1].name, diff)
			}
		})
	}
}

// direct is the client by itself, with a connection of its own to PostgreSQL.
func direct(t *testing.T, s *server, directory string) way {
	t.Helper()
	d := s.database(t, "direct")
	p := program{Directory: directory, Script: "dist-node/node.js", Environment: []string{"DATABASE_URL=" + d.url}}
	return way{"in-process", runnerAt(p.start(t)), d}
}

// executor is the client with Prisma's own executor of query plans.
func executor(t *testing.T, s *server, directory string) way {
	t.Helper()
	d := s.database(t, "executor")
	at := program{Directory: directory, Script: "executor.js", Environment: []string{"DATABASE_URL=" + d.url}}.start(t)
	url := strings.Replace(at, "http:", "prisma+postgres:", 1) + "?api_key=none"
	p := program{Directory: directory, Script: "dist-node/node.js", Environment: []string{"ACCELERATE_URL=" + url}}
	return way{"executor", runnerAt(p.start(t)), d}
}

// runAll runs every case by every way. The ways do not wait for each other.
func runAll(t *testing.T, ways []way, names []string) [][]outcome {
	t.Helper()
	outcomes, problems := make([][]outcome, len(ways)), make([]error, len(ways))
	var running sync.WaitGroup
	for i, w := range ways {
		running.Go(func() { outcomes[i], problems[i] = w.runAll(t.Context(), names) })
	}
	running.Wait()
	for i, err := range problems {
		if err != nil {
			t.Fatalf("running the corpus by way of %s: %v", ways[i].name, err)
		}
	}
	return outcomes
}

func (w way) runAll(ctx context.Context, names []string) ([]outcome, error) {
	outcomes := make([]outcome, len(names))
	for i, name := range names {
		if err := w.database.restore(ctx); err != nil {
			return nil, fmt.Errorf("restoring the rows before %q: %w", name, err)
		}
		result, err := w.runner.run(name)
		if err != nil {
			return nil, fmt.Errorf("running %q: %w", name, err)
		}
		rows, err := w.database.contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the rows after %q: %w", name, err)
		}
		outcomes[i] = outcome{result, rows}
	}
	return outcomes, nil
}
