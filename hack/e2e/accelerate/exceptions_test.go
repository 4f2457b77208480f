// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// An exception is what Prisma's own executor comes to otherwise than its client by itself,
// or the gateway otherwise than both.
type exception struct {
	// like is whom the gateway agrees with: inProcess, byExecutor, nobody, or both but for
	// the client in workerd.
	like string
	why  string
	// from and until are the first and the last version of which it is so.
	from, until minor
	cases       []string
}

// minor is a version without its patch.
type minor struct{ major, minor int }

const (
	nobody    = "nobody"
	inWorkerd = "both, but for workerd"
)

var (
	first = minor{}
	last  = minor{math.MaxInt, 0}
)

// manyValues have more values than the 32,766 that most versions of the client put into a
// statement, and statements that can not be taken apart. PostgreSQL takes twice as many.
var manyValues = []string{
	"filters: in with many values and an order",
	"filters: in with many values and a page",
	"filters: notIn with many values",
	"filters: count with many values",
	"filters: aggregate with many values",
	"filters: groupBy with many values",
}

const (
	bounded  = "the client bounds a statement's parameters by half of what PostgreSQL takes"
	tooMany  = "the executor sends more parameters than the protocol can count"
	twoLists = "filters: two lists of many values"
)

var exceptions = []exception{
	{like: byExecutor, from: first, until: minor{7, 3}, why: bounded, cases: manyValues},
	{like: byExecutor, from: minor{7, 7}, until: last, why: bounded, cases: manyValues},
	{
		like: byExecutor, from: first, until: minor{7, 3}, why: bounded,
		cases: []string{"filters: updateMany and deleteMany with many values"},
	},
	{like: inProcess, from: first, until: minor{7, 3}, why: tooMany, cases: []string{twoLists}},
	{like: inProcess, from: minor{7, 7}, until: last, why: tooMany, cases: []string{twoLists}},
	{
		like: nobody, from: minor{7, 4}, until: minor{7, 6}, cases: []string{twoLists},
		why: "the client itself sends more parameters than the protocol can count; the gateway says so as other versions do",
	},
	{
		like: inProcess, from: minor{7, 8}, until: last,
		why:   "the executor does not take a statement apart: it is not told which kind of server it has",
		cases: []string{"filters: in with more values than there can be parameters"},
	},
	{
		like: inProcess, from: first, until: last,
		why:   "the executor fails to write a BigInt as JSON",
		cases: []string{"raw: object identifiers"},
	},
	{
		like: byExecutor, from: first, until: last,
		why:   "JSON has no NaN, no infinity and no negative zero",
		cases: []string{"raw: odd numbers"},
	},
	{
		like: nobody, from: first, until: minor{6, 17},
		why: "the client's driver reads the year 1 as 2001, and the gateway as it is",
		cases: []string{
			"raw: rows of tables",
			"types: dates keep their milliseconds",
			"types: native types at their least",
			"types: scalars are read",
		},
	},
	{
		like: nobody, from: first, until: minor{6, 17},
		why:   "the client's driver fails to read moments that JavaScript has none for; later ones and the gateway have an invalid date",
		cases: []string{"raw: moments beyond"},
	},
	{
		like: inWorkerd, from: first, until: minor{6, 19},
		why:   "in workerd the client itself can not read NaN as a Decimal",
		cases: []string{"raw: a numeric that is none"},
	},
}

func exceptionFor(name string, v version) (exception, bool) {
	at := v.minor()
	for _, x := range exceptions {
		if !at.before(x.from) && !x.until.before(at) && slices.Contains(x.cases, name) {
			return x, true
		}
	}
	return exception{}, false
}

func (m minor) before(other minor) bool {
	return m.major < other.major || m.major == other.major && m.minor < other.minor
}

func (v version) minor() (m minor) {
	if _, err := fmt.Sscanf(v.client, "%d.%d.", &m.major, &m.minor); err != nil {
		panic(err) // It is one of testdata/versions.txt.
	}
	return m
}

func TestEveryExceptionIsOfACase(t *testing.T) {
	v := versions(t)[0]
	names, err := v.direct(t, aServer(t)).runner.names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exceptions {
		for _, name := range x.cases {
			if !slices.Contains(names, name) {
				t.Errorf("the corpus has no case %q", name)
			}
		}
	}
}
