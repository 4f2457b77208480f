// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestSettingsFollowTheCommonVariables(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		set  map[string]string
		want settings
	}{
		"defaults": {
			map[string]string{"POSTGRES_PASSWORD": "p"},
			settings{data: "/d", sockets: "/s", password: "p", user: "postgres", database: "postgres"},
		},
		"a user's database has its name": {
			map[string]string{"POSTGRES_USER": "app"},
			settings{data: "/d", sockets: "/s", user: "app", database: "app"},
		},
		"a password from a file": {
			map[string]string{"POSTGRES_PASSWORD_FILE": secret, "POSTGRES_DB": "shop"},
			settings{data: "/d", sockets: "/s", password: "from file", user: "postgres", database: "shop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.set["PGDATA"], c.set["PGHOST"] = "/d", "/s"
			got, err := readSettings(environment(c.set))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(settings{})); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnusableSettingsAreRefused(t *testing.T) {
	for name, set := range map[string]map[string]string{
		"no data directory":       {"PGHOST": "/s"},
		"a password on two lines": {"PGDATA": "/d", "PGHOST": "/s", "POSTGRES_PASSWORD": "one\ntwo"},
		"a password file missing": {"PGDATA": "/d", "PGHOST": "/s", "POSTGRES_PASSWORD_FILE": "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := readSettings(environment(set)); err == nil || strings.Contains(err.Error(), "two") {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestTheCallersArgumentsComeLastAndWin(t *testing.T) {
	got := settings{data: "/d", sockets: "/s"}.arguments([]string{"-c", "listen_addresses=127.0.0.1"})
	want := []string{"postgres", "-D", "/d", "-c", "listen_addresses=*", "-c", "unix_socket_directories=/s", "-c", "listen_addresses=127.0.0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestTheServerDoesNotInheritThePassword(t *testing.T) {
	got := withoutPassword([]string{"A=b", "POSTGRES_PASSWORD=p", "POSTGRES_PASSWORD_FILE=/f", "POSTGRES_USER=u"})
	if diff := cmp.Diff([]string{"A=b", "POSTGRES_USER=u"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// aCluster has programs that do what the scripts say.
func aCluster(t *testing.T, initdb, postgres string) cluster {
	t.Helper()
	bin := t.TempDir()
	for name, script := range map[string]string{"initdb": initdb, "postgres": postgres} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(t.TempDir(), "volume", "data")
	return cluster{bin: bin, settings: settings{data: data, sockets: "/s", password: "s3cret", user: "app", database: `odd"name`}}
}

const (
	// makesData does as initdb: a directory with a version and an access file.
	makesData = `for a in "$@"; do case $a in --pgdata=*) d=${a#*=};; --pwfile=*) p=${a#*=};; esac; done
mkdir "$d" && echo 18 >"$d/PG_VERSION" && echo "# first" >"$d/pg_hba.conf" && cat "$p" >"$d/password"; echo "$@" >"$d/arguments"`
	keepsStatement = `cat >"$3/statement"`
)

func TestAFirstStartMakesTheDataDirectory(t *testing.T) {
	c := aCluster(t, makesData, keepsStatement)
	if err := c.initialise(); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"PG_VERSION": "18\n", "password": "s3cret\n", "pg_hba.conf": "# first\nhost all all all scram-sha-256\n",
		"statement": `CREATE DATABASE "odd""name";` + "\n",
	} {
		if got, err := os.ReadFile(filepath.Join(c.data, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", file, got, err, want)
		}
	}
	arguments, _ := os.ReadFile(filepath.Join(c.data, "arguments"))
	if strings.Contains(string(arguments), "s3cret") {
		t.Error("the password stands in an argument")
	}
	entries, _ := os.ReadDir(filepath.Dir(c.data))
	if len(entries) != 1 {
		t.Errorf("beside the data directory there is something left: %v", entries)
	}
}

func TestAFailedFirstStartLeavesNoDataDirectory(t *testing.T) {
	for name, c := range map[string]cluster{
		"initdb fails":             aCluster(t, makesData+"\necho no space >&2; exit 1", keepsStatement),
		"the statement is refused": aCluster(t, makesData, "echo 'ERROR:  no such thing'"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.initialise(); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(c.data); err == nil {
				t.Error("a data directory is there")
			}
			healed := aCluster(t, makesData, keepsStatement)
			healed.data = c.data
			if err := healed.initialise(); err != nil {
				t.Errorf("the next start: %v", err)
			}
		})
	}
}

func TestADataDirectoryThatIsThereIsNotTouched(t *testing.T) {
	c := aCluster(t, "exit 1", "exit 1")
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.data, "PG_VERSION"), []byte("18\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.password = ""
	if err := c.initialise(); err != nil {
		t.Error(err)
	}
}

func TestAFirstStartWithoutAPasswordSaysWhatToSet(t *testing.T) {
	c := aCluster(t, makesData, keepsStatement)
	c.password = ""
	if err := c.initialise(); err == nil || !strings.Contains(err.Error(), "set POSTGRES_PASSWORD") {
		t.Errorf("got %v", err)
	}
}
