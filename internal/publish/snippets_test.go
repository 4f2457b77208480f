// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ofWorkers are the keys that a pool has for workers alone.
var ofWorkers = []string{KeyEdgeURL, KeyAccelerateURL, KeyPrismaPostgresURL, KeyAccelerateScript, KeyWranglerTOML, KeyDevVars, KeyDotEnv, KeyPrismaSchema, KeyPrismaConfig, KeyHyperdriveCreate}

// forWorkers is a pool that workers reach by TCP and by the gateway.
func forWorkers(changes ...func(*Inputs)) Inputs {
	in := aPool()
	in.TLSMode, in.ExternalHost, in.EdgeHost = "prefer", "db.example.com", "shop-demo.edge.example.com"
	in.Direct = "postgresql://shop:secret@db.example.com:5432/shop?sslmode=require&options=$'`#"
	for _, change := range changes {
		change(&in)
	}
	return in
}

func TestWorkersAreToldWhatCanWork(t *testing.T) {
	for name, in := range map[string]Inputs{
		"both":    forWorkers(),
		"private": forWorkers(func(in *Inputs) { in.CA = "-----BEGIN CERTIFICATE-----" }),
		"gateway": forWorkers(func(in *Inputs) { in.ExternalHost = "" }),
		"tcp":     forWorkers(func(in *Inputs) { in.EdgeHost = "" }),
		"plain":   forWorkers(func(in *Inputs) { in.EdgeHost, in.TLSMode = "", "disable" }),
		"query":   forWorkers(func(in *Inputs) { in.Login, in.Direct = Login{}, "postgresql://db.example.com:5432/shop" }),
		"none":    forWorkers(func(in *Inputs) { in.ExternalHost, in.EdgeHost = "", "" }),
		"mutual":  forWorkers(func(in *Inputs) { in.EdgeHost, in.TLSMode = "", "verify-full" }),
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			data := Build(in).Data
			for _, key := range ofWorkers {
				if text, there := data[key]; there {
					got.WriteString("== " + key + "\n" + strings.TrimSuffix(string(text), "\n") + "\n")
				}
			}
			golden(t, name+".txt", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("reading the golden file (go test -update writes it): %v", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), -update writes it anew:\n%s", name, diff)
	}
}

func TestEveryKeyCanStandInASecret(t *testing.T) {
	for key := range Build(forWorkers(func(in *Inputs) { in.CA = "PEM" })).Data {
		if problems := validation.IsConfigMapKey(key); len(problems) > 0 {
			t.Errorf("%s: %v", key, problems)
		}
	}
}

func TestTextsThatCanBeShownHoldNoPassword(t *testing.T) {
	data := Build(forWorkers(func(in *Inputs) { in.CA = "PEM" })).Data
	for _, key := range []string{KeyWranglerTOML, KeyPrismaSchema, KeyPrismaConfig, KeyHyperdriveCreate} {
		if text := string(data[key]); text == "" || strings.Contains(text, "POOLED") || strings.Contains(text, "api_key") || strings.Contains(text, "secret@") {
			t.Errorf("%s is empty, or holds a password:\n%s", key, text)
		}
	}
}

// The shell is real; npx and node are played, the one saying what it was asked and the
// other giving back what it read.
func TestTheCommandForHyperdriveGivesThePasswordOfTheEnvironment(t *testing.T) {
	bin := t.TempDir()
	for name, script := range map[string]string{"npx": `printf '%s\n' "$@"`, "node": "cat"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(in Inputs, environment ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh")
		cmd.Stdin = strings.NewReader(string(Build(in).Data[KeyHyperdriveCreate]))
		cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, environment...)
		out, err := cmd.Output()
		return string(out), err
	}
	private := forWorkers(func(in *Inputs) { in.CA, in.Login = "PEM", Login{} })
	got, err := run(private, "PGUSER=me", "PGPASSWORD=it's $mine", "CA_CERTIFICATE_ID=id")
	want := strings.Join([]string{
		"wrangler", "hyperdrive", "create", "shop-demo", "--connection-string=postgresql://me:it's $mine@db.example.com:5432/shop",
		"--ca-certificate-id=id", "--sslmode=verify-full", "--origin-connection-limit=20", "",
	}, "\n")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := run(forWorkers()); err == nil || got != "" {
		t.Errorf("without a password it ran: %s", got)
	}
}
