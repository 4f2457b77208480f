// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// scramSecret is of a password that nobody needs to know.
const scramSecret = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$rqyYMzMWXiqjvkhZrXWTY9pTqS2/3uFFhTPkcKbnNSU=:WPgwtsZUCAC3lkJhyRcFXtfKcRgIgcMyiFT4IrEOJXs="

func aLookup() pgbouncer.Lookup {
	return pgbouncer.Lookup{User: "finder", Password: "hush-finder", Query: "select * from find($1)"}
}

// looksUp is a configuration with a lookup of the changed kind.
func looksUp(change func(*pgbouncer.Lookup)) func(*pgbouncer.Config) {
	return func(c *pgbouncer.Config) {
		c.Server.User, c.Server.Password, c.Lookup = "", "", aLookup()
		change(&c.Lookup)
	}
}

func aConfig(change ...func(*pgbouncer.Config)) pgbouncer.Config {
	cfg := pgbouncer.Config{
		Server:               pgbouncer.Server{Host: "db", Port: 5432, User: "u", Password: "hush-hush", TLSMode: "require"},
		Databases:            []pgbouncer.Database{{Name: "a", Database: "a"}},
		Mode:                 pgbouncer.ModeTransaction,
		Users:                []pgbouncer.User{{Name: "app", Password: "hush-too"}},
		MaxClientConnections: 100,
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func TestASharePartsEvenlyAndNeverIntoNothing(t *testing.T) {
	dbs := []pgbouncer.Database{{Name: "c"}, {Name: "a"}, {Name: "b"}}
	for share, want := range map[int32]pgbouncer.Limits{
		3: {"a": 1, "b": 1, "c": 1},
		4: {"a": 1, "b": 1, "c": 2},
		5: {"a": 2, "b": 1, "c": 2},
		9: {"a": 3, "b": 3, "c": 3},
	} {
		got, err := pgbouncer.Split(dbs, share)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || got.Sum() != share {
			t.Errorf("share %d, sum %d (-want +got):\n%s", share, got.Sum(), diff)
		}
	}
	for _, share := range []int32{2, 0, -1} {
		var tooSmall *pgbouncer.ShareError
		if _, err := pgbouncer.Split(dbs, share); !errors.As(err, &tooSmall) {
			t.Errorf("share %d over 3 databases: want a ShareError, got %v", share, err)
		}
	}
	if _, err := pgbouncer.Split(nil, 5); err == nil {
		t.Error("no database: want an error")
	}
}

func TestTheWayBetweenTwoLimitsAllowsNoMoreThanEither(t *testing.T) {
	got := pgbouncer.Lower(pgbouncer.Limits{"a": 6, "b": 2, "gone": 3}, pgbouncer.Limits{"a": 3, "b": 5, "new": 3})
	if diff := cmp.Diff(pgbouncer.Limits{"a": 3, "b": 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWouldBreakTheFilesOrTheBudgetIsRefused(t *testing.T) {
	for name, change := range map[string]func(*pgbouncer.Config){
		"a wildcard database":                   func(c *pgbouncer.Config) { c.Databases[0].Name = "*" },
		"the console's name for a database":     func(c *pgbouncer.Config) { c.Databases[0].Name = "pgbouncer" },
		"a database name no file can spell":     func(c *pgbouncer.Config) { c.Databases[0].Name = "my db" },
		"a database name that ends the section": func(c *pgbouncer.Config) { c.Databases[0].Name = "a]\n[pgbouncer" },
		"no database":                           func(c *pgbouncer.Config) { c.Databases = nil },
		"a database twice":                      func(c *pgbouncer.Config) { c.Databases = append(c.Databases, c.Databases[0]) },
		"a long database name":                  func(c *pgbouncer.Config) { c.Databases[0].Name = strings.Repeat("a", 64) },
		"a line break at the server's database": func(c *pgbouncer.Config) { c.Databases[0].Database = "a\nb" },
		"the console's user":                    func(c *pgbouncer.Config) { c.Users[0].Name = "pgbouncer" },
		"a user twice":                          func(c *pgbouncer.Config) { c.Users = append(c.Users, c.Users[0]) },
		"a user without a password":             func(c *pgbouncer.Config) { c.Users[0].Password = "" },
		"a line break in a password":            func(c *pgbouncer.Config) { c.Server.Password = "hush-hush\nx" },
		"a zero byte in a password":             func(c *pgbouncer.Config) { c.Users[0].Password = "hush-too\x00" },
		"no server user, so none is forced":     func(c *pgbouncer.Config) { c.Server.User = "" },
		"several hosts":                         func(c *pgbouncer.Config) { c.Server.Host = "a,b" },
		"no port":                               func(c *pgbouncer.Config) { c.Server.Port = 0 },
		"an unknown TLS mode":                   func(c *pgbouncer.Config) { c.Server.TLSMode = "" },
		"an unknown mode":                       func(c *pgbouncer.Config) { c.Mode = "" },
		"unlimited clients":                     func(c *pgbouncer.Config) { c.MaxClientConnections = 0 },
		"a user's md5 hash":                     func(c *pgbouncer.Config) { c.Users[0].Password = "md5" + strings.Repeat("a", 32) },
		"half a SCRAM secret":                   func(c *pgbouncer.Config) { c.Users[0].Password = "SCRAM-SHA-256$4096:hush-hush" },
		"a forced user beside a lookup":         func(c *pgbouncer.Config) { c.Lookup = aLookup() },
		"a lookup without a user":               looksUp(func(l *pgbouncer.Lookup) { l.User = "" }),
		"a lookup without a password":           looksUp(func(l *pgbouncer.Lookup) { l.Password = "" }),
		"a lookup with a hash for a password":   looksUp(func(l *pgbouncer.Lookup) { l.Password = scramSecret }),
		"a lookup without a query":              looksUp(func(l *pgbouncer.Lookup) { l.Query = "" }),
		"a lookup's query of two lines":         looksUp(func(l *pgbouncer.Lookup) { l.Query = "select 1\nfrom x" }),
		"a lookup by the console's user":        looksUp(func(l *pgbouncer.Lookup) { l.User = "pgbouncer" }),
		"a lookup by a name that ends a rule":   looksUp(func(l *pgbouncer.Lookup) { l.User = `a" all trust` }),
		"a lookup by one of the clients":        looksUp(func(l *pgbouncer.Lookup) { l.User = "app" }),
		"a connect query of two lines":          func(c *pgbouncer.Config) { c.ConnectQuery = "select 1;\nselect 2" },
		"a connect query too long to be sent":   func(c *pgbouncer.Config) { c.ConnectQuery = "select '" + strings.Repeat("x", 500) + "'" },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pgbouncer.Render(aConfig(change), 5, pgbouncer.Paths{RunDir: "/run"})
			if err == nil {
				t.Fatal("it was rendered")
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("a password is in the error: %v", err)
			}
		})
	}
	for name, change := range map[string]func(*pgbouncer.Config){
		"as it is":             func(*pgbouncer.Config) {},
		"with a lookup":        looksUp(func(*pgbouncer.Lookup) {}),
		"with a SCRAM secret":  func(c *pgbouncer.Config) { c.Users[0].Password = scramSecret },
		"with a password like": func(c *pgbouncer.Config) { c.Users[0].Password = "md5 is no hash" },
	} {
		if _, err := pgbouncer.Render(aConfig(change), 5, pgbouncer.Paths{RunDir: "/run"}); err != nil {
			t.Errorf("the configuration they differ from, %s: %v", name, err)
		}
	}
}

func TestAParameterThatCouldBreakTheBudgetSaysWhatToDo(t *testing.T) {
	for name, want := range map[string]string{
		"default_pool_size":  "parameter default_pool_size is set by the operator: use spec.serverConnections",
		"max_client_conn":    "parameter max_client_conn is set by the operator: use spec.clients.maxConnections",
		"query_timeout":      "statement_timeout",
		"auth_query":         "is set by the operator; parameters that you can set are",
		"peer_id":            "is set by the operator; parameters that you can set are",
		"unix_socket_dir":    "is set by the operator; parameters that you can set are",
		"no_such_thing":      "is not one of those that you can set: application_name_add_host, ",
		"disable_pqexec":     "takes it only when it starts",
		"server_check_query": "is set by the operator",
		"%include":           "is not one of those",
		"a\nb":               "is not one of those",
	} {
		err := pgbouncer.Validate(aConfig(func(c *pgbouncer.Config) { c.Parameters = map[string]string{name: "7"} }))
		var invalid *pgbouncer.InvalidParameterError
		if !errors.As(err, &invalid) || invalid.Name != name || !strings.Contains(err.Error(), want) {
			t.Errorf("parameter %q: got %v, want it to say %q", name, err, want)
		}
	}
}

func TestParametersAreCheckedByType(t *testing.T) {
	for value, ok := range map[string]bool{
		"query_wait_timeout=0.5":                true,
		"query_wait_timeout=0":                  true,
		"query_wait_timeout=1e3":                false,
		"query_wait_timeout=30s":                false,
		"query_wait_timeout=-1":                 false,
		"query_wait_timeout=NaN":                false,
		"query_timeout=0":                       true,
		"server_login_retry=0":                  false,
		"server_lifetime=0":                     false,
		"max_prepared_statements=1000":          true,
		"max_prepared_statements=+1":            false,
		"max_prepared_statements=1.5":           false,
		"log_connections=yes":                   false,
		"server_reset_query=DISCARD ALL":        true,
		"server_reset_query=a\nlisten_addr = x": false,
		"ignore_startup_parameters=a,b , c.d":   true,
		"ignore_startup_parameters=a\nb":        false,
		"ignore_startup_parameters=":            false,
	} {
		name, v, _ := strings.Cut(value, "=")
		err := pgbouncer.Validate(aConfig(func(c *pgbouncer.Config) { c.Parameters = map[string]string{name: v} }))
		if (err == nil) != ok {
			t.Errorf("%q: got %v", value, err)
		}
	}
}
