// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

func aPool() Inputs {
	return Inputs{
		Host: "shop-pool.demo.svc", Port: 5432, Database: "shop",
		Credential:            Credential{Username: "app", Password: "POOLED"},
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
		in.Database, in.Credential = text, Credential{Username: text, Password: text}
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
	got := Build(in).URLs
	for _, text := range []string{got.Pooled, got.Direct} {
		parsed, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, has := parsed.User.Password(); has {
			t.Errorf("a password is in %s", text)
		}
	}
}

func TestNewCredentialIsLongAndNeedsNoEscaping(t *testing.T) {
	first, err := NewCredential(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewCredential(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// 32 characters of 5 bits are 160 bits.
	if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(first.Password) {
		t.Errorf("the password is of another form than 32 letters and digits")
	}
	if first.Password == second.Password {
		t.Error("two passwords are the same")
	}
	if first.Username != "app" || second.Username != "app" {
		t.Errorf("the usernames are %q and %q, want app", first.Username, second.Username)
	}
}

func TestNewCredentialUsesAllThatItReads(t *testing.T) {
	seen := map[string]bool{}
	for i := range passwordBytes {
		random := make([]byte, passwordBytes)
		random[i] = 1
		credential, err := NewCredential(bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		seen[credential.Password] = true
	}
	if len(seen) != passwordBytes {
		t.Errorf("%d different inputs gave %d passwords", passwordBytes, len(seen))
	}
}

func TestNewCredentialFailsWithoutEnoughRandomness(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewCredential(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if _, err := NewCredential(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
