// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A request for users with what belongs to them, and for hundred rows.
func BenchmarkPlans(b *testing.B) {
	text, err := os.ReadFile("testdata/plans-7.10.0.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	rows := Result{Fields: []Field{
		{"id", 23},
		{"email", 25},
		{"name", 25},
		{"role", 25},
		{"age", 23},
		{"balance", 1700},
		{"active", 16},
		{"created_at", 1114},
		{"_aggr_count_posts", 20},
		{"bio", 25},
		{"links", 3802},
		{"user_id", 23},
		{"title", 25},
		{"body", 25},
		{"views", 23},
		{"published", 16},
		{"score", 701},
		{"author_id", 23},
		{"reviewer_id", 23},
		{"PostToTag@Post", 23},
	}}
	for i := range 100 {
		id := []byte(strconv.Itoa(i))
		rows.Rows = append(rows.Rows, [][]byte{
			id, []byte("ada@example.org"), []byte("Ada"), []byte("USER"), nil, []byte("100.50"), []byte("t"), []byte("2001-01-01 00:00:00"), []byte("3"),
			nil, []byte(`{"a": 1}`), id, []byte("title"), nil, []byte("7"), []byte("f"), []byte("4.5"), id, nil, id,
		})
	}
	for line := range strings.Lines(string(text)) {
		var one recorded
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			b.Fatal(err)
		}
		if one.Name != "include" && one.Name != "distinct" {
			continue
		}
		b.Run(one.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request, err := Decode(one.Request, newestVersion, DefaultLimits)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := request.Run(b.Context(), &replies{results: []Result{rows}}, false, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
