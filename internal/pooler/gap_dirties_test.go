// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestWhatClosesServerConnections(t *testing.T) {
	base := func() pgbouncer.Config {
		return pgbouncer.Config{
			Server:       pgbouncer.Server{Host: "db", Port: 5432, User: "app", Password: "one", TLSMode: "require"},
			Databases:    []pgbouncer.Database{{Name: "a", Database: "a"}, {Name: "b", Database: "b"}},
			ConnectQuery: "select 1",
		}
	}
	for name, c := range map[string]struct {
		change func(*pgbouncer.Config)
		want   bool
	}{
		"nothing":            {func(*pgbouncer.Config) {}, false},
		"the host":           {func(c *pgbouncer.Config) { c.Server.Host = "other" }, true},
		"the port":           {func(c *pgbouncer.Config) { c.Server.Port = 1 }, true},
		"the role":           {func(c *pgbouncer.Config) { c.Server.User = "other" }, true},
		"TLS":                {func(c *pgbouncer.Config) { c.Server.TLSMode = "disable" }, true},
		"whom to trust":      {func(c *pgbouncer.Config) { c.Server.CA = "other" }, true},
		"who we are":         {func(c *pgbouncer.Config) { c.Server.Certificate, c.Server.Key = "other", "other" }, true},
		"TLS to clients":     {func(c *pgbouncer.Config) { c.ClientTLS.Certificate = "other" }, false},
		"who looks users up": {func(c *pgbouncer.Config) { c.Lookup.User = "other" }, false},
		"the connect query":  {func(c *pgbouncer.Config) { c.ConnectQuery = "" }, true},
		"where a name leads": {func(c *pgbouncer.Config) { c.Databases[1].Database = "c" }, true},
		"the password":       {func(c *pgbouncer.Config) { c.Server.Password = "two" }, false},
		"a parameter":        {func(c *pgbouncer.Config) { c.Parameters = map[string]string{"query_wait_timeout": "5"} }, false},
		"a database more": {func(c *pgbouncer.Config) {
			c.Databases = append(c.Databases, pgbouncer.Database{Name: "c", Database: "c"})
		}, false},
		"a database less":          {func(c *pgbouncer.Config) { c.Databases = c.Databases[1:] }, false},
		"the order of databases":   {func(c *pgbouncer.Config) { c.Databases[0], c.Databases[1] = c.Databases[1], c.Databases[0] }, false},
		"what a client logs in as": {func(c *pgbouncer.Config) { c.Users = []pgbouncer.User{{Name: "u", Password: "p"}} }, false},
	} {
		after := base()
		c.change(&after)
		if got := dirties(base(), after); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestLoginsAreTriedAgainQuicklyAfterAnUpheavalUnlessThereIsNoRoom(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		last           time.Time
		interval, want time.Duration
	}{
		{now.Add(-time.Second), 0, 100 * time.Millisecond},
		{now.Add(-time.Second), 4 * time.Second, 4 * time.Second},
		{now.Add(-3 * time.Second), 0, 0},
		{time.Time{}, 0, 0},
	} {
		if got := (upheaval{last: c.last}).quicken(c.interval, now); got != c.want {
			t.Errorf("%s after it, at an interval of %s: %s, want %s", now.Sub(c.last), c.interval, got, c.want)
		}
	}
}
