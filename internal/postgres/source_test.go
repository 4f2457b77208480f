// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aSource is what postgresql://app:pw@db.example.com/shop means, changed as asked.
func aSource(changes ...func(*Source)) Source {
	s := Source{
		Host: "db.example.com", Port: 5432, User: "app", Password: "pw", Database: "shop", TLSMode: "require",
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func TestParseSecretReadsURLs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		url  string
		want Source
	}{
		"the plain form": {"postgresql://app:pw@db.example.com:5432/shop", aSource()},
		"the short scheme, without a port, with a newline": {"postgres://app:pw@db.example.com/shop\n", aSource()},
		"a database that goes without saying":              {"postgres://app:pw@db.example.com", aSource(func(s *Source) { s.Database = "app" })},
		"percent-encoding everywhere": {
			"postgres://a%40b:p%2Fw%25%20%3A@db.example.com/sh%2Fop",
			aSource(func(s *Source) { s.User, s.Password, s.Database = "a@b", "p/w% :", "sh/op" }),
		},
		"characters in a password that other parsers refuse": {
			"postgres://app:a^b@c|d{e}\"#+@db.example.com/shop",
			aSource(func(s *Source) { s.Password = `a^b@c|d{e}"#+` }),
		},
		"no password": {"postgres://app@db.example.com/shop", aSource(func(s *Source) { s.Password = "" })},
		"an IPv6 address": {
			"postgres://app:pw@[2001:DB8:0::1]:6000/shop",
			aSource(func(s *Source) { s.Host, s.Port = "2001:db8::1", 6000 }),
		},
		"what ORMs and Neon add": {
			"postgres://app:pw@db.example.com/shop?schema=s&pgbouncer=true&connection_limit=1&options=endpoint%3Dep-1&channel_binding=require&made_up",
			aSource(func(s *Source) {
				s.Parameters = "schema=s&connection_limit=1&options=endpoint%3Dep-1&channel_binding=require&made_up"
			}),
		},
		"parts in the query": {
			"postgresql:///shop?host=db.example.com&port=5433&user=app&password=p%26w",
			aSource(func(s *Source) { s.Port, s.Password = 5433, "p&w" }),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseSecret(map[string][]byte{"DATABASE_URL": []byte(test.url)}, "")
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %s with %q, want %s with %q", got.URL(), got.Parameters, test.want.URL(), test.want.Parameters)
			}
		})
	}
}

func TestParseSecretKnowsEveryKeySet(t *testing.T) {
	t.Parallel()
	const url, other = "postgres://app:pw@db.example.com/shop", "postgres://no:no@no.example.com/no"
	pooled := strings.ReplaceAll(url, "db.", "db-pooler.")
	parts := map[string]string{"host": "db.example.com", "port": "5432", "user": "app", "password": "pw", "dbname": "shop"}
	tests := map[string]struct {
		data map[string]string
		key  string
		want Source
	}{
		"DATABASE_URL before all":  {map[string]string{"DATABASE_URL": url, "uri": other, "url": other, "DIRECT_URL": other}, "", aSource()},
		"uri":                      {map[string]string{"uri": url, "url": other, "DIRECT_URL": other, "host": "x"}, "", aSource()},
		"url":                      {map[string]string{"url": url, "DIRECT_URL": other, "host": "x"}, "", aSource()},
		"DIRECT_URL":               {map[string]string{"DIRECT_URL": url, "host": "x"}, "", aSource()},
		"the key named":            {map[string]string{"DATABASE_URL": other, "mine": url}, "mine", aSource()},
		"an empty URL is none":     {map[string]string{"DATABASE_URL": "\n", "uri": url}, "", aSource()},
		"a pooler gives way":       {map[string]string{"DATABASE_URL": pooled, "DIRECT_URL": url}, "", aSource()},
		"a pooler for want of all": {map[string]string{"DATABASE_URL": pooled}, "", aSource(func(s *Source) { s.Host = "db-pooler.example.com" })},
		"a pooler that was named":  {map[string]string{"mine": pooled, "DIRECT_URL": url}, "mine", aSource(func(s *Source) { s.Host = "db-pooler.example.com" })},
		"parts":                    {parts, "", aSource()},
		"parts by other names, with newlines": {
			map[string]string{"host": "db.example.com\n", "username": "app\n", "password": "pw\n", "database": "shop\n"}, "", aSource(),
		},
		"parts with sslmode": {
			map[string]string{"host": "db.example.com", "user": "app", "password": "p?w", "dbname": "shop", "sslmode": "verify-full"},
			"",
			aSource(func(s *Source) { s.Password, s.TLSMode, s.Parameters = "p?w", "verify-full", "sslmode=verify-full" }),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseSecret(secret(test.data), test.key)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %s %s, want %s %s", got.URL(), got.TLSMode, test.want.URL(), test.want.TLSMode)
			}
		})
	}
}

func secret(values map[string]string) map[string][]byte {
	data := map[string][]byte{}
	for key, value := range values {
		data[key] = []byte(value)
	}
	return data
}

func TestParseSecretSaysWhatIsWrongWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	const password = "hunter2secret"
	tests := map[string]struct {
		data   map[string]string
		key    string
		reason Reason
		says   string
	}{
		"nothing":                {nil, "", KeyMissing, "put a URL under DATABASE_URL"},
		"Zalando's":              {map[string]string{"username": "app", "password": password}, "", KeyMissing, "no host"},
		"no user":                {map[string]string{"host": "db", "password": password}, "", KeyMissing, "under user or username"},
		"the named key missing":  {map[string]string{"DATABASE_URL": "postgres://a@b"}, "mine", KeyMissing, "no key mine"},
		"parts, bad host":        {map[string]string{"host": "a b", "user": "app", "password": password}, "", InvalidURL, "DNS name"},
		"parts, bad port":        {map[string]string{"host": "a", "port": "x", "user": "app", "password": password}, "", InvalidURL, "1 to 65535"},
		"JDBC":                   {map[string]string{"url": "jdbc:postgresql://db/shop?password=" + password}, "", InvalidURL, "JDBC"},
		"a driver's scheme":      urlCase("postgresql+asyncpg://app:PW@db/shop", "postgresql:// alone"),
		"another database":       urlCase("mysql://app:PW@db/shop", "must start with postgresql://"),
		"keywords":               urlCase("host=db,user=app,password=PW", "is no URL"),
		"quotes":                 urlCase(`"postgres://app:PW@db/shop"`, "without them"),
		"several hosts":          urlCase("postgres://app:PW@a:1,b:2/shop", "several hosts"),
		"several IPv6 hosts":     urlCase("postgres://app:PW@[::1]:1,[::2]:2/shop", "several hosts"),
		"several hosts in query": urlCase("postgres://app:PW@/shop?host=a,b", "several hosts"),
		"a socket":               urlCase("postgres://app:PW@%2Fvar%2Frun/shop", "Unix socket"),
		"a socket in the query":  urlCase("postgres://app:PW@/shop?host=/cloudsql/x", "Unix socket"),
		"no host":                urlCase("postgres://app:PW@/shop", "names no host"),
		"no user at all":         urlCase("postgres://db/shop?password=PW", "names no user"),
		"a slash in a password":  urlCase("postgres://app:PW/x@db/shop", "%2F"),
		"a slash after digits":   urlCase("postgres://app:12/PW@db/shop", "names no user"),
		"a percent sign":         urlCase("postgres://app:PW%@db/shop", "%25"),
		"a percent in the query": urlCase("postgres://app:PW@db/shop?x=%", "%25"),
		"an open bracket":        urlCase("postgres://app:PW@[::1/shop", "brackets"),
		"a scoped address":       urlCase("postgres://app:PW@[fe80::1%25eth0]/shop", "IP address"),
		"a bare IPv6 address":    urlCase("postgres://app:PW@2001:db8::1/shop", "1 to 65535"),
		"a port of zero":         urlCase("postgres://app:PW@db:0/shop", "1 to 65535"),
		"a port too high":        urlCase("postgres://app:PW@db:65536/shop", "1 to 65535"),
		"a bad sslmode":          urlCase("postgres://app:PW@db/shop?sslmode=PW", "disable, allow, prefer"),
		"two URLs":               urlCase("postgres://app:PW@db/shop\npostgres://app:PW@db/shop", "one URL only"),
		"a zero byte":            urlCase("postgres://app%00x:PW@db/shop", "control character"),
		"no UTF-8":               urlCase("postgres://app:PW%ff@db/shop", "UTF-8"),
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for key, value := range test.data {
				test.data[key] = strings.ReplaceAll(value, "PW", password)
			}
			_, err := ParseSecret(secret(test.data), test.key)
			got, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if got.Reason != test.reason || !strings.Contains(got.Message, test.says) {
				t.Errorf("got %s: %s\nwant %s, and %q in it", got.Reason, got.Message, test.reason, test.says)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v %v", got, *got, got.Err), password) {
				t.Error("the error holds the password")
			}
		})
	}
}

type errorCase = struct {
	data   map[string]string
	key    string
	reason Reason
	says   string
}

func urlCase(url, says string) errorCase {
	return errorCase{map[string]string{"DATABASE_URL": url}, "", InvalidURL, says}
}

func TestTLSIsNeverWeakerThanRequireOutsideTheClusterUnlessDisabled(t *testing.T) {
	t.Parallel()
	inside := []string{"postgres", "localhost", "db.demo.svc", "DB.demo.svc.cluster.local.", "10.1.2.3", "127.0.0.1", "192.168.0.1", "[fd00::1]", "[::1]"}
	outside := []string{"db.example.com", "db.demo", "8.8.8.8", "[2001:db8::1]", "evil.svc.example.com", "notsvc.cluster.local"}
	tests := []struct{ parameters, inside, outside string }{
		{"", "prefer", "require"},
		{"sslmode=prefer", "prefer", "require"},
		{"sslmode=allow", "allow", "require"},
		{"sslmode=disable", "disable", "disable"},
		{"sslmode=require", "require", "require"},
		{"sslmode=verify-ca", "verify-ca", "verify-ca"},
		{"sslmode=verify-full", "verify-full", "verify-full"},
		{"sslmode=no-verify", "require", "require"},
		{"ssl=true", "require", "require"},
		{"ssl=true&sslmode=verify-ca", "verify-ca", "verify-ca"},
		{"sslmode=verify-ca&ssl=true", "verify-ca", "verify-ca"},
		{"sslrootcert=system", "verify-full", "verify-full"},
		{"sslmode=require&sslrootcert=system", "verify-full", "verify-full"},
		{"sslmode=require&sslrootcert=/etc/ca.pem", "require", "require"},
	}
	for _, test := range tests {
		for want, hosts := range map[string][]string{test.inside + " inside": inside, test.outside + " outside": outside} {
			for _, host := range hosts {
				got, err := ParseSecret(secret(map[string]string{"uri": "postgres://app@" + host + "/shop?" + test.parameters}), "")
				if mode, _, _ := strings.Cut(want, " "); err != nil || got.TLSMode != mode {
					t.Errorf("%s with %q: got %q, %v, want %s", host, test.parameters, got.TLSMode, err, want)
				}
			}
		}
	}
}

func TestRedactedURLHoldsNoSecret(t *testing.T) {
	t.Parallel()
	s := aSource(func(s *Source) {
		s.Parameters = "sslmode=require&sslpassword=hidden&schema=s&options=-c%20a.b%3Dhidden"
	})
	const want = "postgresql://app@db.example.com:5432/shop?sslmode=require&schema=s"
	if got := s.RedactedURL(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := s.AnonymousURL(), strings.Replace(want, "app@", "", 1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.Password = "hidden"
	if text := fmt.Sprintf("%v %+v %#v %s %v", s, s, s, s, []any{s, &s}); strings.Contains(text, "hidden") {
		t.Errorf("printing a source shows its password: %s", text)
	}
	if got := s.Parameter("options"); got != "-c a.b=hidden" {
		t.Errorf("the parameter options is %q", got)
	}
}

func TestEndpointIsOneSpelling(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, host := range []string{"DB.Example.com", "db.example.com.", "[2001:DB8::0:1]", "[::1]", "db"} {
		s, err := ParseSecret(secret(map[string]string{"uri": "postgres://app@" + host}), "")
		if err != nil {
			t.Fatal(err)
		}
		got[host] = s.InNamespace("demo").Endpoint()
	}
	want := map[string]string{
		"DB.Example.com": "db.example.com:5432", "db.example.com.": "db.example.com:5432",
		"[2001:DB8::0:1]": "[2001:db8::1]:5432", "[::1]": "[::1]:5432", "db": "db.demo.svc:5432",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLooksPooled(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"postgres://a@ep-x-123-pooler.us-east-2.aws.neon.tech/db":   true,
		"postgres://a@ep-x-123.us-east-2.aws.neon.tech/db":          false,
		"postgres://a@aws-0-eu.pooler.supabase.com:5432/db":         true,
		"postgres://a@db.abc.supabase.co:6543/db":                   true,
		"postgres://a@db.abc.supabase.co:5432/db":                   false,
		"postgres://a@db.example.com:6432/db":                       true,
		"postgres://a@db.example.com/name-pooler?options=-pooler":   false,
		"postgres://user-pooler:-pooler@[2001:db8::1]:5432/-pooler": false,
	} {
		s, err := ParseSecret(secret(map[string]string{"uri": url}), "")
		if err != nil {
			t.Fatal(err)
		}
		if got, why := s.LooksPooled(); got != want || got != (why != "") {
			t.Errorf("%s: got %v, %q, want %v", url, got, why, want)
		}
	}
}
