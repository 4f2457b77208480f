// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Closure returns the named packages and those they depend on, directly or
// through one another, as far as follow accepts their names; sorted.
// We follow libraries and leave out what only a package's maintainer scripts
// need, such as perl or debconf: nothing here runs those scripts.
func (a *Apt) Closure(ctx context.Context, names []string, follow func(string) bool) ([]string, error) {
	args := append(a.options(), "depends", "--recurse", "--important", "--no-recommends", "--no-suggests")
	out, err := run(ctx, "apt-cache", append(args, names...)...)
	if err != nil {
		return nil, fmt.Errorf("asking for the dependencies in Debian %s (a name not found there has moved on, correct the set): %w", a.Suite, err)
	}
	return walk(parseDepends(out), names, follow), nil
}

// parseDepends reads `apt-cache depends --recurse`: a package's name at the
// margin, its dependencies below it. Of alternatives, marked by a bar, only the
// first is taken, as apt would install it; names in angle brackets are virtual.
func parseDepends(text string) map[string][]string {
	graph := map[string][]string{}
	pkg, alternative := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		kind, name, isDependency := strings.Cut(line, "Depends: ")
		switch {
		case !isDependency && !strings.HasPrefix(line, " "):
			pkg, alternative = line, false
			graph[pkg] = nil
		case isDependency:
			if !alternative && !strings.HasPrefix(name, "<") {
				graph[pkg] = append(graph[pkg], strings.TrimSuffix(name, ":any"))
			}
			alternative = strings.HasPrefix(kind, " |")
		}
	}
	return graph
}

func walk(graph map[string][]string, names []string, follow func(string) bool) []string {
	seen := map[string]bool{}
	queue := slices.Clone(names)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, dependency := range graph[name] {
			if follow(dependency) {
				queue = append(queue, dependency)
			}
		}
	}
	var all []string
	for name := range seen {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
