// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fewest is how many cases the corpus has at the least: one that lost its cases would
// agree with everything.
const fewest = 120

// bundles is where hack/accelerate.sh puts what it makes of testdata/corpus, in a
// directory for each version of Prisma.
const bundles = "../../../.cache/accelerate"

var (
	every = flag.Bool("accelerate.all", false, "run the corpus with every version of Prisma, not the newest alone")
	only  = flag.String("accelerate.cases", "", "run only the cases whose names begin with this, and do not count them")
	kept  = flag.String("accelerate.outcomes", "", "write what every case comes to into this directory")
)

func TestEveryCaseComesToTheSameByEveryWay(t *testing.T) {
	postgres := aServer(t)
	for _, v := range versions(t) {
		t.Run("Prisma "+v.client, func(t *testing.T) {
			r := run{version: v, ways: v.ways(t, postgres)}
			r.all(t)
			if *kept != "" {
				r.write(t, filepath.Join(*kept, v.client))
			}
			r.judge(t)
		})
	}
}

// version is one of Prisma's, with what is made for it.
type version struct {
	client, directory string
	// executor is whether its own executor of plans is published.
	executor bool
}

// versions are those that testdata/versions.txt names, or the last of them.
func versions(t *testing.T) []version {
	t.Helper()
	text, err := os.ReadFile("testdata/versions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var found []version
	for line := range strings.Lines(string(text)) {
		if client, executor, ok := strings.Cut(strings.TrimSpace(line), " "); ok && client != "#" {
			directory, err := filepath.Abs(filepath.Join(bundles, client))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, version{client, directory, executor != "-"})
		}
	}
	target := "accelerate-all"
	if !*every {
		found, target = found[len(found)-1:], "accelerate"
	}
	for _, v := range found {
		if _, err := os.Stat(filepath.Join(v.directory, "dist", "index.js")); err != nil {
			t.Fatalf("finding the corpus for Prisma %s, which `make .cache/stamps/%s` brings: %v", v.client, target, err)
		}
	}
	return found
}

// A way is how the client comes to its results.
type way struct {
	name     string
	runner   runner
	database *database
}

// The ways' names.
const (
	inProcess  = "the client by itself"
	byExecutor = "Prisma's executor"
	inNode     = "the gateway, in Node.js"
	inWorker   = "the gateway, in workerd"
)

// ways are those of a version, the client by itself first and its executor, where there
// is one, second. The last two are the gateway's.
func (v version) ways(t *testing.T, s *server) []way {
	t.Helper()
	ways := []way{v.direct(t, s)}
	if v.executor {
		ways = append(ways, v.byExecutor(t, s))
	}
	return append(ways, v.byGateway(t, s)...)
}

// direct has connections of the client's own to PostgreSQL.
func (v version) direct(t *testing.T, s *server) way {
	t.Helper()
	d := s.database(t)
	p := program{Directory: v.directory, Script: "dist-node/node.js", Environment: []string{"DATABASE_URL=" + d.url}}
	return way{inProcess, runnerAt(p.start(t)), d}
}

func (v version) byExecutor(t *testing.T, s *server) way {
	t.Helper()
	d := s.database(t)
	at := program{Directory: v.directory, Script: "executor.js", Environment: []string{"DATABASE_URL=" + d.url}}.start(t)
	url := strings.Replace(at, "http:", "prisma+postgres:", 1) + "?api_key=none"
	p := program{Directory: v.directory, Script: "dist-node/node.js", Environment: []string{"ACCELERATE_URL=" + url}}
	return way{byExecutor, runnerAt(p.start(t)), d}
}
