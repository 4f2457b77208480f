// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

func aPool() Inputs {
	return Inputs{
		Namespace: "demo", Pool: "shop",
		Host: "shop-pool.demo.svc", Port: 5432, Database: "shop",
		Login:                 Login{Username: "app", Password: "POOLED"},
		Direct:                "postgresql://shop:secret@db.example.com:5432/shop?sslmode=verify-full&schema=x",
		DirectWithoutPassword: "postgresql://shop@db.example.com:5432/shop?sslmode=verify-full",
	}
}

func TestBuildTellsApplicationsWhatTheyNeed(t *testing.T) {
	got := Build(aPool())
	wantURLs := URLs{
		Pooled: "postgresql://app@shop-pool.demo.svc:5432/shop?sslmode=disable",
		Direct: "postgresql://shop@db.example.com:5432/shop?sslmode=verify-full",
	}
	if diff := cmp.Diff(wantURLs, got.URLs); diff != "" {
		t.Errorf("URLs differ (-want +got):\n%s", diff)
	}
	wantData := map[string]string{
		"DATABASE_URL": "postgresql://app:POOLED@shop-pool.demo.svc:5432/shop?sslmode=disable",
		"uri":          "postgresql://app:POOLED@shop-pool.demo.svc:5432/shop?sslmode=disable",
		"DIRECT_URL":   "postgresql://shop:secret@db.example.com:5432/shop?sslmode=verify-full&schema=x",
		"direct-uri":   "postgresql://shop:secret@db.example.com:5432/shop?sslmode=verify-full&schema=x",
		"jdbc-uri":     "jdbc:postgresql://shop-pool.demo.svc:5432/shop?user=app&password=POOLED&sslmode=disable",
		"type":         "postgresql",
		"provider":     "poolfleet",
		"host":         "shop-pool.demo.svc",
		"port":         "5432",
		"database":     "shop",
		"username":     "app",
		"password":     "POOLED",
	}
	gotData := map[string]string{}
	for key, value := range got.Data {
		gotData[key] = string(value)
	}
	if diff := cmp.Diff(wantData, gotData); diff != "" {
		t.Errorf("data differs (-want +got):\n%s", diff)
	}
}

func TestURLsSayOfTLSWhatThePoolersDo(t *testing.T) {
	for mode, want := range map[string]string{
		"": "?sslmode=disable", "disable": "?sslmode=disable", "allow": "", "prefer": "",
		"require": "?sslmode=require", "verify-ca": "?sslmode=require", "verify-full": "?sslmode=require",
	} {
		in := aPool()
		in.TLSMode, in.ExternalHost = mode, "db.example.com"
		got := Build(in)
		for what, pair := range map[string][2]string{
			"DATABASE_URL": {string(got.Data[KeyDatabaseURL]), "postgresql://app:POOLED@shop-pool.demo.svc:5432/shop" + want},
			"EXTERNAL_URL": {string(got.Data[KeyExternalURL]), "postgresql://app:POOLED@db.example.com:5432/shop" + want},
			"the status":   {got.URLs.External, "postgresql://app@db.example.com:5432/shop" + want},
			"jdbc-uri":     {string(got.Data[KeyJDBCURI]), "jdbc:postgresql://shop-pool.demo.svc:5432/shop?user=app&password=POOLED" + strings.Replace(want, "?", "&", 1)},
		} {
			if pair[0] != pair[1] {
				t.Errorf("with mode %q %s is %s, want %s", mode, what, pair[0], pair[1])
			}
		}
	}
}

func TestWithoutAUserNothingPublishedNamesOne(t *testing.T) {
	in := aPool()
	in.Login, in.Direct, in.TLSMode = Login{}, "postgresql://db.example.com:5432/shop", "require"
	got := Build(in)
	want := map[string]string{
		"DATABASE_URL": "postgresql://shop-pool.demo.svc:5432/shop?sslmode=require",
		"jdbc-uri":     "jdbc:postgresql://shop-pool.demo.svc:5432/shop?sslmode=require",
	}
	for key, url := range want {
		if string(got.Data[key]) != url {
			t.Errorf("%s is %s, want %s", key, got.Data[key], url)
		}
	}
	for _, key := range []string{"username", "password"} {
		if _, there := got.Data[key]; there {
			t.Errorf("%s is published", key)
		}
	}
}

func TestTheAuthorityOfThePoolersIsPublishedWhereItIsKnown(t *testing.T) {
	in := aPool()
	if _, there := Build(in).Data[KeyCA]; there {
		t.Error("an empty ca.crt is published")
	}
	in.CA = "-----BEGIN CERTIFICATE-----"
	if got := string(Build(in).Data[KeyCA]); got != in.CA {
		t.Errorf("ca.crt is %q", got)
	}
}

func TestAURLIsSpelledForEveryDriver(t *testing.T) {
	odd := "p@ss:w/o?r#d %+&='\"\\[]é\u00a0"
	cases := map[string]struct {
		server Server
		want   string
	}{
		"every odd character is escaped": {
			Server{Host: "db.example.com", Port: 5432, User: "o'b@r+d", Password: odd, Database: "my db/x?y"},
			"postgresql://o%27b%40r%2Bd:p%40ss%3Aw%2Fo%3Fr%23d%20%25%2B%26%3D%27%22%5C%5B%5D%C3%A9%C2%A0@db.example.com:5432/my%20db%2Fx%3Fy",
		},
		"an IPv6 address stands in brackets": {
			Server{Host: "2001:db8::1", Port: 6432, User: "shop", Password: "x", Database: "shop"},
			"postgresql://shop:x@[2001:db8::1]:6432/shop",
		},
		"a zone is escaped": {
			Server{Host: "fe80::1%eth0", Port: 5432, User: "shop", Database: "shop"},
			"postgresql://shop@[fe80::1%25eth0]:5432/shop",
		},
		"what is not known is left out": {
			Server{Host: "db", Database: "shop"},
			"postgresql://db/shop",
		},
		"sslmode is kept": {
			Server{Host: "db", Port: 5432, User: "shop", Password: "x", Database: "shop", SSLMode: "verify-ca"},
			"postgresql://shop:x@db:5432/shop?sslmode=verify-ca",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := test.server.url(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// Two readers that share no code, one of them a driver, must read back what went in.
func TestURLsAreReadBackAsTheyWereMeant(t *testing.T) {
	texts := []string{"plain", "a b", "a+b", "a%b", "a%2Fb", "a/b", "a:b@c", "a?b#c", "a&b=c;d", "[x]", `"\'`, "ünï", "$(x)`", "~-._"}
	for _, text := range texts {
		in := aPool()
		in.Database, in.Login = text, Login{Username: text, Password: text}
		data := Build(in).Data

		config, err := pgconn.ParseConfig(string(data[KeyDatabaseURL]))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := []string{config.User, config.Password, config.Database}
		if diff := cmp.Diff([]string{text, text, text}, got); diff != "" {
			t.Errorf("a driver reads another user, password or database (-want +got):\n%s", diff)
		}

		jdbc, err := url.Parse(strings.TrimPrefix(string(data[KeyJDBCURI]), "jdbc:"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		// Java's URLDecoder, which pgjdbc uses, reads + as a space, in the path too.
		path, err := url.QueryUnescape(strings.TrimPrefix(jdbc.EscapedPath(), "/"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		got = []string{jdbc.Query().Get("user"), jdbc.Query().Get("password"), path}
		if diff := cmp.Diff([]string{text, text, text}, got); diff != "" {
			t.Errorf("Java reads another user, password or database (-want +got):\n%s", diff)
		}
	}
}

func TestStatusURLsHoldNoPassword(t *testing.T) {
	in := aPool()
	in.ExternalHost = "db.example.com"
	got := Build(in).URLs
	for _, text := range []string{got.Pooled, got.External, got.Direct} {
		parsed, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, has := parsed.User.Password(); has {
			t.Errorf("a password is in %s", text)
		}
	}
}
