// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func aDocument(revision string, databases ...string) *document {
	doc := &document{revision: revision}
	for _, name := range databases {
		doc.PgBouncer.Databases = append(doc.PgBouncer.Databases, pgbouncer.Database{Name: name})
	}
	return doc
}

func aGrant(gen int64, share int32, config string) contract.Grant {
	return contract.Grant{UID: "me", Gen: gen, Share: share, Config: config}
}

func TestDecide(t *testing.T) {
	older, newer := aDocument("old", "a"), aDocument("new", "a", "b")
	ran := memory{UID: "me", Seen: aGrant(5, 4, "old"), Applied: aGrant(5, 4, "old"), doc: older}
	drained := ran
	drained.Released, drained.Applied.Share = release{Gen: 5, Share: 2}, 2
	crashed := ran // Between seeing 6 and applying it.
	crashed.Seen = aGrant(6, 2, "new")
	for name, c := range map[string]struct {
		mem     memory
		in      inbox
		refused map[string]string
		gen     int64
		config  string
		limits  pgbouncer.Limits
		problem bool
	}{
		"nothing at all":                                 {},
		"a configuration alone":                          {in: inbox{uid: "me", doc: newer}},
		"a first grant":                                  {in: inbox{uid: "me", grant: aGrant(1, 5, "new"), doc: newer}, gen: 1, config: "new", limits: pgbouncer.Limits{"a": 3, "b": 2}},
		"a first grant before its configuration":         {in: inbox{uid: "me", grant: aGrant(1, 5, "new"), doc: older}, gen: 1, problem: true},
		"a grant while the pod's uid is unknown":         {in: inbox{grant: aGrant(1, 5, "new"), doc: newer}, problem: true},
		"another pod's grant":                            {in: inbox{uid: "copy", grant: aGrant(9, 5, "new"), doc: newer}, problem: true},
		"a newer grant":                                  {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 2, "new"), doc: newer}, gen: 6, config: "new", limits: pgbouncer.Limits{"a": 1, "b": 1}},
		"a newer grant before its configuration":         {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 2, "new"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 2}, problem: true},
		"a larger share before its configuration":        {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 9, "new"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}, problem: true},
		"a newer grant for what ran":                     {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 2, "old"), doc: newer}, gen: 6, config: "old", limits: pgbouncer.Limits{"a": 2}},
		"an older grant":                                 {mem: ran, in: inbox{uid: "me", grant: aGrant(4, 9, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}, problem: true},
		"the same grant again":                           {mem: ran, in: inbox{uid: "me", grant: aGrant(5, 4, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}},
		"the same number with another share":             {mem: ran, in: inbox{uid: "me", grant: aGrant(5, 9, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}, problem: true},
		"the same number with a share of nothing":        {mem: ran, in: inbox{uid: "me", grant: aGrant(5, 0, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}, problem: true},
		"the same number with another configuration":     {mem: ran, in: inbox{uid: "me", grant: aGrant(5, 4, "new"), doc: newer}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}, problem: true},
		"the same number, after a drain, of less":        {mem: drained, in: inbox{uid: "me", grant: aGrant(5, 2, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 2}, problem: true},
		"a grant that was seen, after a crash":           {mem: crashed, in: inbox{uid: "me", grant: aGrant(6, 2, "new"), doc: newer}, gen: 6, config: "new", limits: pgbouncer.Limits{"a": 1, "b": 1}},
		"no grant, after a crash":                        {mem: crashed, in: inbox{uid: "me", doc: newer}, gen: 6, config: "new", limits: pgbouncer.Limits{"a": 1, "b": 1}},
		"an older grant, after a crash":                  {mem: crashed, in: inbox{uid: "me", grant: aGrant(5, 4, "old"), doc: newer}, gen: 6, config: "new", limits: pgbouncer.Limits{"a": 1, "b": 1}, problem: true},
		"another of the number, after a crash":           {mem: crashed, in: inbox{uid: "me", grant: aGrant(6, 9, "new"), doc: newer}, gen: 6, config: "new", limits: pgbouncer.Limits{"a": 1, "b": 1}, problem: true},
		"its configuration gone, after a crash":          {mem: crashed, in: inbox{uid: "me", grant: aGrant(6, 2, "new"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 2}, problem: true},
		"a newer grant with the next, after a crash":     {mem: crashed, in: inbox{uid: "me", grant: aGrant(7, 3, "old"), doc: older}, gen: 7, config: "old", limits: pgbouncer.Limits{"a": 3}},
		"no grant any more":                              {mem: ran, in: inbox{uid: "me", doc: newer}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 4}},
		"a share of nothing, whatever the configuration": {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 0, "elsewhere")}, gen: 6},
		"a share too small":                              {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 1, "new"), doc: newer}, gen: 6, config: "new", problem: true},
		"a refused configuration":                        {mem: ran, in: inbox{uid: "me", grant: aGrant(6, 2, "new"), doc: newer}, refused: map[string]string{"new": "bad"}, gen: 6, config: "old", limits: pgbouncer.Limits{"a": 2}, problem: true},
		"what a drain gave back":                         {mem: drained, in: inbox{uid: "me", grant: aGrant(5, 4, "old"), doc: older}, gen: 5, config: "old", limits: pgbouncer.Limits{"a": 2}},
		"a newer grant after a drain":                    {mem: drained, in: inbox{uid: "me", grant: aGrant(6, 4, "old"), doc: older}, gen: 6, config: "old", limits: pgbouncer.Limits{"a": 4}},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(c.mem, c.in, c.refused)
			if got.grant.Gen != c.gen || revision(got.doc) != c.config || (got.problem != "") != c.problem {
				t.Errorf("gen %d, configuration %q, problem %q; want gen %d, configuration %q, a problem %v", got.grant.Gen, revision(got.doc), got.problem, c.gen, c.config, c.problem)
			}
			if diff := cmp.Diff(c.limits, got.limits); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoStepOnTheWayAllowsMoreThanTheGrants(t *testing.T) {
	for _, c := range []struct{ from, to pgbouncer.Limits }{
		{pgbouncer.Limits{"a": 6, "b": 2}, pgbouncer.Limits{"a": 2, "b": 6}},
		{pgbouncer.Limits{"a": 6}, pgbouncer.Limits{"a": 3, "b": 3}},
		{pgbouncer.Limits{"a": 4, "b": 4}, pgbouncer.Limits{"b": 8}},
		{pgbouncer.Limits{"a": 4}, pgbouncer.Limits{"b": 4}},
		{pgbouncer.Limits{"a": 1}, pgbouncer.Limits{"a": 9}},
		{pgbouncer.Limits{"a": 9}, pgbouncer.Limits{"a": 1}},
	} {
		first := step(c.from, c.to, nil)
		if len(lowered(first, c.from)) > 0 && len(lowered(c.from, first)) > 0 {
			t.Errorf("%v to %v: the first step %v raises and lowers", c.from, c.to, first)
		}
		if last := step(first, c.to, nil); cmp.Diff(c.to, last) != "" {
			t.Errorf("%v to %v: the second step is %v", c.from, c.to, last)
		}
	}
}

// Whatever the limits and the connections are, no step lets the databases have more
// together than they have already or than the grant allows, and as connections are
// let go the steps lead to the limits wanted.
func TestDatabasesRiseOnlyIntoWhatWasLetGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string, least int32) pgbouncer.Limits {
			return rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.Int32Range(least, 9)).Draw(t, name)
		}
		inForce, want, current := some("in force", 1), some("wanted", 1), some("connections", 0)
		charge := func(limits pgbouncer.Limits) (sum int32) {
			for _, name := range []string{"a", "b", "c", "d"} {
				sum += max(limits[name], current[name])
			}
			return sum
		}
		for range 3 {
			next := step(inForce, want, current)
			if after := charge(next); after > max(charge(inForce), want.Sum()) {
				t.Fatalf("the step to %v allows %d", next, after)
			}
			for name, limit := range next {
				if limit < 1 {
					t.Fatalf("%s has the limit %d, which is none", name, limit)
				}
			}
			inForce = next
			if rapid.Bool().Draw(t, "a connection is let go") {
				for name := range current {
					current[name] = max(0, current[name]-1)
				}
			}
		}
		for name := range current { // At last all transactions end.
			current[name] = min(current[name], inForce[name])
		}
		if last := step(step(inForce, want, current), want, current); !maps.Equal(last, want) {
			t.Fatalf("it ends with %v, want %v", last, want)
		}
	})
}

// relayed is the log after the lines.
func relayed(secrets []string, lines ...string) (string, *relay) {
	var log bytes.Buffer
	r := &relay{log: slog.New(slog.NewJSONHandler(&log, nil))}
	r.hide(secrets)
	for _, line := range lines {
		r.line(line)
	}
	return log.String(), r
}

func TestNoPasswordIsInTheLog(t *testing.T) {
	for _, line := range []string{
		`2026-11-22 06:26:47.695 UTC [10] ERROR invalid value "host='h' password='hush''hush' x" for parameter a in configuration (/x:2)`,
		`2026-11-22 06:26:47.695 UTC [10] ERROR the password=hush'hush is wrong`,
		`2026-11-22 06:26:47.695 UTC [10] LOG got hush'hush`,
		`2026-11-22 06:26:47.695 UTC [10] LOG got hush''hush`,
		`no line of PgBouncer's: hush'hush`,
	} {
		log, r := relayed([]string{"hush'hush"}, line)
		if strings.Contains(log+r.words(), "hush") {
			t.Errorf("%s\nbecame %s", line, log)
		}
		if log == "" {
			t.Errorf("%s\nwas left out", line)
		}
	}
}

func TestAFloodOfOneKindHidesNoOtherLine(t *testing.T) {
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("2026-11-22 06:26:47.695 UTC [10] WARNING C-0x55%04x: shop/app@10.0.0.7:%d pooler error: no more connections allowed (max_client_conn)", i, i))
	}
	log, r := relayed(nil, append(lines, "2026-11-22 06:26:47.695 UTC [10] ERROR S-0x5: shop/app@10.0.0.1:5432 server login failed")...)
	if got := strings.Count(log, "no more connections"); got != linesPerWindow {
		t.Errorf("%d lines of the flood, want %d", got, linesPerWindow)
	}
	if !strings.Contains(log, `"level":"ERROR","msg":"S-0x5: shop/app@10.0.0.1:5432 server login failed","component":"pgbouncer","pid":"10"`) {
		t.Errorf("the other line is not there:\n%s", log)
	}
	if words := r.words(); words != "" {
		t.Errorf("complaints about connections are taken for ones about the configuration: %s", words)
	}
}
