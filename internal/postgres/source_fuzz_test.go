// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"fmt"
	"strings"
	"testing"
)

// marker is in no message of ours, so that finding it means that a password got out.
const marker = "zQ7xW"

func FuzzParseSecret(f *testing.F) {
	for _, seed := range [][4]string{
		{"postgres://app:", "pw", "@db.example.com:5432/shop?sslmode=require", ""},
		{"postgresql://app:", "p@w/x?y#z%", "@[::1]:5432/shop", ""},
		{"postgres://app:", "%41%", "@a,b/shop", ""},
		{"postgres://db/shop?user=app&password=", "p&w+", "", ""},
		{"jdbc:postgresql://db/shop?user=app&password=", "pw", "", ""},
		{"host=db password=", "pw", "", "mine"},
		{"postgres://app:1", "/pw", "@db:5432/shop", "mine"},
		{"postgres://[", "]:1", "/?host=%2Ftmp&options=endpoint%3Dx", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, before, password, after, key string) {
		text := []byte(before + marker + password + after)
		for _, data := range []map[string][]byte{
			{"DATABASE_URL": text, key: text},
			{"host": []byte(before), "port": []byte(after), "user": []byte("app"), "password": text},
		} {
			source, err := ParseSecret(data, key)
			if err != nil {
				if shown := fmt.Sprintf("%v %+v %#v", err, err, err); !strings.Contains(key, marker) && strings.Contains(shown, marker) {
					t.Fatalf("the error holds a piece of the password: %s", shown)
				}
				continue
			}
			requireRoundTrip(t, source)
		}
	})
}

// requireRoundTrip fails unless the source's URL means the source again, and its
// redacted form shows no password that stands nowhere else.
func requireRoundTrip(t *testing.T, source Source) {
	t.Helper()
	again, err := ParseSecret(map[string][]byte{"uri": []byte(source.URL())}, "")
	if err != nil || again != source {
		t.Fatalf("%s reads as %s, %q, %v", source.URL(), again.URL(), again.Parameters, err)
	}
	elsewhere := source.Host + source.User + source.Database + source.Parameters
	if strings.Contains(source.Password, marker) && !strings.Contains(elsewhere, marker) && strings.Contains(source.RedactedURL(), marker) {
		t.Fatalf("the redacted URL holds the password: %s", source.RedactedURL())
	}
}
