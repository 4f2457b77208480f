// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fuzzLimits are small, so that what goes beyond them is found soon.
var fuzzLimits = Limits{Depth: 50, Nodes: 20_000, Statements: 50, Rows: 1000, Work: 50_000, ResultBytes: 1 << 20}

// Whatever a client sends, it gets an answer or an error, and both are JSON.
func FuzzDecode(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add([]byte(seed), uint8(7), uint8(10))
	}
	for _, seed := range hostile() {
		f.Add([]byte(seed.body), uint8(6), uint8(17))
	}
	rows := Result{
		Fields:       []Field{{"id", 23}, {"name", 25}, {"at", 1114}, {"tags", 1009}},
		Rows:         [][][]byte{{[]byte("1"), []byte("a"), []byte("2001-02-03 04:05:06"), []byte(`{a,"b"}`)}, {[]byte("2"), nil, nil, nil}},
		RowsAffected: 2,
	}
	f.Fuzz(func(t *testing.T, body []byte, major, minor uint8) {
		request, err := Decode(body, Version{Major: int(major), Minor: int(minor)}, fuzzLimits)
		if err != nil {
			mustTell(t, err)
			return
		}
		trace, err := NewTrace(newestVersion, "query, error, tracing", "")
		if err != nil {
			t.Fatal(err)
		}
		data, err := request.Run(t.Context(), &replies{results: []Result{rows}}, false, trace)
		if err != nil {
			mustTell(t, err)
			return
		}
		if !json.Valid(data) || !json.Valid(trace.Extensions()) {
			t.Errorf("no JSON: %s %s", data, trace.Extensions())
		}
	})
}

func mustTell(t *testing.T, err error) {
	t.Helper()
	told := ErrorOf(err)
	written, err := json.Marshal(told)
	if err != nil || told.Status < 400 || told.Message == "" {
		t.Errorf("%+v is told as %s: %v", told, written, err)
	}
}

// seeds are the recorded requests of one version.
func seeds(f *testing.F) []string {
	f.Helper()
	files, err := filepath.Glob("testdata/plans-*.jsonl")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recorded plans: %v", err)
	}
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		f.Fatal(err)
	}
	var requests []string
	for line := range strings.Lines(string(text)) {
		var one recorded
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			f.Fatal(err)
		}
		requests = append(requests, string(one.Request))
	}
	return requests
}

// What we read as JSON is what encoding/json does, and we write what we read.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,"x\u00e9\ud83c\udf89\n",null,true,false],"10":{},"2":[]}`, `"\ud800"`, `01`, `1.`, `{"a":1,"a":2}`,
		` [ ] `, `[1,]`, `{"a"}`, `"\x"`, "\"\x01\"", `-`, `1e400`, `nul`, `""x`, "\"\xff\"", `{"__proto__":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		budget := 10_000
		read, err := readJSON(text, 100, &budget, map[string]*shape{})
		if valid := json.Valid(text); (err == nil) != valid {
			if err == errMalformed || err == nil { //nolint:errorlint // As it is made.
				t.Fatalf("%q: %v, but encoding/json says valid is %v", text, err, valid)
			}
			return
		}
		if err != nil {
			return
		}
		writer := jsonWriter{depth: 200, limit: math.MaxInt, leaf: plainLeaf}
		if err := writer.write(read); err != nil {
			t.Fatal(err)
		}
		var want, got any
		if json.Unmarshal(text, &want) != nil {
			return // A number beyond the range, which is null to JavaScript.
		}
		if err := json.Unmarshal(writer.out, &got); err != nil {
			t.Fatalf("%q was written as %q: %v", text, writer.out, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q was written as %q: %s", text, writer.out, diff)
		}
	})
}

func FuzzArray(f *testing.F) {
	for _, seed := range []string{`{}`, `{1,NULL,"NULL"}`, `{{a,"b\"\\c"},{d,e}}`, `[0:1]={1,2}`, `{`, `{"a`, `{a}}`, `{{{{{{{{{}}}}}}}}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if read, ok := parseArray(text, asText).(*list); ok {
			x := &execution{limits: fuzzLimits, work: fuzzLimits.Work}
			written, err := x.arrayText(nil, read, fuzzLimits.Depth)
			if err != nil {
				return
			}
			again, _ := x.stringify(parseArray(string(written), asText), plainLeaf)
			if first, _ := x.stringify(read, plainLeaf); string(first) != string(again) {
				t.Errorf("%q became %q", text, written)
			}
		}
	})
}
