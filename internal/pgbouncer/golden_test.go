// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A goldenCase is testdata/<name>.in.yaml.
type goldenCase struct {
	Share             int32            `json:"share"`
	ClientIdleTimeout string           `json:"clientIdleTimeout"`
	Config            pgbouncer.Config `json:"config"`
}

func (c goldenCase) rendering(t *testing.T) pgbouncer.Rendering {
	t.Helper()
	limits, err := pgbouncer.Split(c.Config.Databases, c.Share)
	if err != nil {
		t.Fatal(err)
	}
	return pgbouncer.Rendering{
		Config: c.Config, Limits: limits, ClientIdleTimeout: c.ClientIdleTimeout,
		Paths: pgbouncer.Paths{RunDir: "/run/poolfleet"},
	}
}

func goldenCases(t *testing.T) map[string]goldenCase {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	cases := map[string]goldenCase{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c goldenCase
		if err := yaml.UnmarshalStrict(data, &c); err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		cases[strings.TrimSuffix(filepath.Base(file), ".in.yaml")] = c
	}
	return cases
}

func TestFilesAreAsReviewed(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			files, err := c.rendering(t).Files()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".ini", files.Ini)
			golden(t, name+".userlist.txt", files.Userlist)
			golden(t, name+".hba.conf", files.HBA)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got), -update writes it anew:\n%s", name, diff)
	}
}

func TestPgBouncerRunsWhatWeRender(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			server := testenv.PgBouncer(t, c.rendering(t))
			states, err := server.Admin.Databases(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := pgbouncer.Limits{}
			for _, db := range states {
				got[db.Name] = db.MaxConnections
				if db.PoolSize != db.MaxConnections {
					t.Errorf("database %s: pool_size is %d, max_db_connections %d", db.Name, db.PoolSize, db.MaxConnections)
				}
			}
			if diff := cmp.Diff(c.rendering(t).Limits, got); diff != "" {
				t.Errorf("limits (-rendered +in force):\n%s", diff)
			}
			if log := server.Log(); strings.Contains(log, "WARNING") || strings.Contains(log, "ERROR") {
				t.Errorf("PgBouncer is not content:\n%s", log)
			}
		})
	}
}

func TestPgBouncerReadsBackWhatWasEscaped(t *testing.T) {
	c := goldenCases(t)["escaping"]
	server := testenv.PgBouncer(t, c.rendering(t))
	rows, err := server.Admin.Show(t.Context(), "DATABASES")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows[0]["database"], c.Config.Databases[0].Database; got != want {
		t.Errorf("database is %q, want %q", got, want)
	}
	if got, want := rows[0]["force_user"], c.Config.Server.User; got != want {
		t.Errorf("user is %q, want %q", got, want)
	}
}

func TestEveryAllowedParameterCanBeReloaded(t *testing.T) {
	server := testenv.PgBouncer(t, goldenCases(t)["minimal"].rendering(t))
	rows, err := server.Admin.Show(t.Context(), "CONFIG")
	if err != nil {
		t.Fatal(err)
	}
	changeable := map[string]string{}
	for _, row := range rows {
		changeable[row["key"]] = row["changeable"]
	}
	for _, name := range pgbouncer.AllowedParameters() {
		if changeable[name] != "yes" {
			t.Errorf("parameter %s: SHOW CONFIG calls it changeable %q", name, changeable[name])
		}
	}
}
