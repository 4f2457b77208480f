// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestThePasswordOfBeforeIsTheOneThatPgBouncerHad(t *testing.T) {
	with := func(host, password string) *document {
		cfg := pgbouncer.Config{Server: pgbouncer.Server{Host: host, User: "app", Password: password}}
		return &document{Document: contract.Document{PgBouncer: cfg}}
	}
	for name, c := range map[string]struct {
		now           passwords
		before, after *document
		former        string
		inFiles       string
	}{
		"after a start there is none":          {passwords{}, nil, with("db", "new"), "", "new"},
		"after a change it is the old one":     {passwords{newest: "old"}, with("db", "old"), with("db", "new"), "old", "new"},
		"another server never had it":          {passwords{newest: "old"}, with("db", "old"), with("other", "new"), "", "new"},
		"it is the one that worked":            {passwords{newest: "b", former: "a", swapped: true}, with("db", "b"), with("db", "c"), "a", "c"},
		"a change back leaves none":            {passwords{newest: "b", former: "a", swapped: true}, with("db", "b"), with("db", "a"), "", "a"},
		"without a change it stays as it is":   {passwords{newest: "b", former: "a", swapped: true}, with("db", "b"), with("db", "b"), "a", "a"},
		"a change before it was tried is kept": {passwords{newest: "b", former: "a"}, with("db", "b"), with("db", "c"), "b", "c"},
	} {
		c.now.replaced(c.before, c.after, 0)
		if got := c.now.inFiles(c.after.PgBouncer.Server.Password); c.now.former != c.former || got != c.inFiles {
			t.Errorf("%s: former %q, in the files %q, want %q and %q", name, c.now.former, got, c.former, c.inFiles)
		}
	}
}
