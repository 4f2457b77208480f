// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func headerOf(control, tags string) http.Header {
	header := http.Header{}
	for name, value := range map[string]string{"Cache-Control": control, "Accelerate-Cache-Tags": tags} {
		if value != "" {
			header.Set(name, value)
		}
	}
	return header
}

func TestAPolicyIsReadFromTheHeader(t *testing.T) {
	for name, test := range map[string]struct {
		control, tags string
		want          Policy
	}{
		"nothing is asked for":         {},
		"no cache":                     {control: "no-cache", tags: "a"},
		"ttl and swr":                  {control: "max-age=60,stale-while-revalidate=30", want: Policy{TTL: time.Minute, SWR: 30 * time.Second}},
		"ttl alone":                    {control: "Max-Age=1", want: Policy{TTL: time.Second}},
		"swr alone":                    {control: "stale-while-revalidate=1", want: Policy{SWR: time.Second}},
		"zeros":                        {control: "max-age=0,stale-while-revalidate=0", tags: "a"},
		"no-cache beats what else":     {control: "max-age=60, no-cache"},
		"what else there may be":       {control: "private, max-age=60, x=\"y\"", want: Policy{TTL: time.Minute}},
		"tags":                         {control: "max-age=60", tags: "b, a_1,b", want: Policy{TTL: time.Minute, Tags: []string{"a_1", "b"}}},
		"longer than a year":           {control: "max-age=18446744073709551615", want: Policy{TTL: longest}},
		"the longest tag and the most": {control: "max-age=1", tags: strings.Repeat("x", 64) + ",1,2,3,4", want: Policy{TTL: time.Second, Tags: []string{"1", "2", "3", "4", strings.Repeat("x", 64)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadPolicy(headerOf(test.control, test.tags))
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestAPolicyThatCanNotBeIsRefused(t *testing.T) {
	for _, test := range [][2]string{
		{"max-age", ""},
		{"max-age=", ""},
		{"max-age=-1", ""},
		{"max-age=1.5", ""},
		{"max-age=1e21", ""},
		{"max-age=NaN", ""},
		{"max-age=99999999999999999999", ""},
		{"max-age=1,max-age=1", ""},
		{"max-age=0x10", ""},
		{"stale-while-revalidate=soon", ""},
		{"max-age=1", ","},
		{"max-age=1", "a,,b"},
		{"max-age=1", "a b"},
		{"max-age=1", "é"},
		{"max-age=1", strings.Repeat("x", 65)},
		{"max-age=1", "1,2,3,4,5,6"},
	} {
		got, err := ReadPolicy(headerOf(test[0], test[1]))
		if _, malformed := errors.AsType[Malformed](err); !malformed || got.Caches() {
			t.Errorf("%q with tags %q is read as %+v, %v", test[0], test[1], got, err)
		}
	}
}

func TestAnInvalidationIsReadFromTheBody(t *testing.T) {
	for body, want := range map[string]Invalidation{
		`{"tags":"all"}`:           {All: true},
		`{"tags":["all"]}`:         {Tags: []string{"all"}},
		`{"tags":["b","a","b"] }`:  {Tags: []string{"a", "b"}},
		`{"tags":["a"],"other":1}`: {Tags: []string{"a"}},
	} {
		got, err := ReadInvalidation([]byte(body))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", body, err, diff)
		}
	}
}

func TestAnInvalidationThatCanNotBeIsRefused(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{}`, `{"tags":null}`, `{"tags":[]}`, `{"tags":"some"}`, `{"tags":[1]}`, `{"tags":[""]}`, `{"tags":["a-b"]}`,
		`{"tags":["1","2","3","4","5","6"]}`, `{"tags":["` + strings.Repeat("x", 65) + `"]}`,
	} {
		got, err := ReadInvalidation([]byte(body))
		if _, malformed := errors.AsType[Malformed](err); !malformed || got.All || got.Tags != nil {
			t.Errorf("%s is read as %+v, %v", body, got, err)
		}
	}
}
