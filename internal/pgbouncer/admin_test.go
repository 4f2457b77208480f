// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestTheConsoleTakesEveryCommand(t *testing.T) {
	c := goldenCases(t)["databases"]
	server := testenv.PgBouncer(t, c.rendering(t))
	admin, ctx := server.Admin, t.Context()
	version, err := admin.Version(ctx)
	if err != nil || !strings.HasPrefix(version, "PgBouncer ") {
		t.Errorf("version %q, %v", version, err)
	}
	const database = "audit-log_2" // A name that needs quotes.
	paused := func() []string {
		states, err := admin.Databases(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, db := range states {
			if db.Paused {
				names = append(names, db.Name)
			}
		}
		return names
	}
	if none, err := admin.AwaitNoLogins(ctx, 0); !none || err != nil {
		t.Errorf("no login is in flight: %t, %v", none, err)
	}
	for _, name := range []string{database, ""} {
		if err := admin.Reconnect(ctx, name); err != nil {
			t.Errorf("reconnecting %q: %v", name, err)
		}
	}
	if n, err := admin.EndReplication(ctx); n != 0 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if _, err := admin.Pools(ctx); err != nil {
		t.Error(err)
	}
	if _, err := admin.Servers(ctx); err != nil {
		t.Error(err)
	}
	if sample, err := admin.Sample(ctx); err != nil || len(sample.Databases) != len(c.Config.Databases) {
		t.Errorf("sampled %+v, %v", sample, err)
	}
	if err := admin.Pause(ctx, database); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{database}, paused()); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
}

func TestAReloadChangesLimitsInPlace(t *testing.T) {
	r := goldenCases(t)["databases"].rendering(t)
	server := testenv.PgBouncer(t, r)
	r.Limits = pgbouncer.Limits{"web": 7, "jobs.queue": 1} // The third is gone.
	server.Write(t, r)
	if err := server.Admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	states, err := server.Admin.Databases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := pgbouncer.Limits{}
	for _, db := range states {
		got[db.Name] = db.MaxConnections
	}
	if diff := cmp.Diff(r.Limits, got); diff != "" {
		t.Errorf("limits (-written +in force):\n%s", diff)
	}
}

func TestASettingIsInForceUntilTheNextReload(t *testing.T) {
	r := goldenCases(t)["minimal"].rendering(t)
	server := testenv.PgBouncer(t, r)
	inForce := func() (seconds string) {
		rows, err := server.Admin.Show(t.Context(), "CONFIG")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row["key"] == pgbouncer.LoginRetrySetting {
				seconds = row["value"]
			}
		}
		return seconds
	}
	if err := server.Admin.Set(t.Context(), pgbouncer.LoginRetrySetting, "0.4"); err != nil || inForce() != "0.4" {
		t.Errorf("set to %s, %v; want 0.4", inForce(), err)
	}
	r.Config.Parameters = map[string]string{pgbouncer.LoginRetrySetting: "2.5"}
	server.Write(t, r)
	if err := server.Admin.Reload(t.Context()); err != nil || inForce() != "2.5" || r.Config.LoginRetry() != 2500*time.Millisecond {
		t.Errorf("reloaded to %s, %v; the files say %s", inForce(), err, r.Config.LoginRetry())
	}
}

func TestAConsoleThatIsNotThereIsAnError(t *testing.T) {
	admin := pgbouncer.Admin{SocketDir: t.TempDir(), Port: 5432, Timeout: 5 * time.Second}
	if states, err := admin.Databases(t.Context()); err == nil {
		t.Errorf("got %v", states)
	}
}
