// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge/apikey"
)

// keyOf is the API key in a URL, and who is at its other end.
func keyOf(t *testing.T, text string) (key apikey.Key, origin string) {
	t.Helper()
	at, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = apikey.Parse(at.Query().Get("api_key")); err != nil {
		t.Fatalf("the published key: %v", err)
	}
	return key, at.Scheme + "://" + at.Host + at.Path
}

func TestAcceleratesClientsAreGivenThePooledCredentialAsTheirKey(t *testing.T) {
	in := forWorkers(func(in *Inputs) { in.Login.Password, in.Database = "p&=%20ö", "my shop" })
	want := apikey.Key{Namespace: "demo", Pool: "shop", User: "app", Password: "p&=%20ö", Database: "my shop"}
	got := Build(in)
	for name, origin := range map[string]string{
		KeyAccelerateURL:     "prisma://shop-demo.edge.example.com/",
		KeyPrismaPostgresURL: "prisma+postgres://shop-demo.edge.example.com/",
	} {
		if key, at := keyOf(t, string(got.Data[name])); key != want || at != origin {
			t.Errorf("%s has the key %v at %s", name, key, at)
		}
	}
	if got.URLs.Accelerate != "prisma://shop-demo.edge.example.com/" {
		t.Errorf("the status would have %s", got.URLs.Accelerate)
	}
}

func TestAPasswordTooLongForAKeyLeavesTheOtherURLs(t *testing.T) {
	got := Build(forWorkers(func(in *Inputs) { in.Login.Password = strings.Repeat("p", apikey.MaxLength) })).Data
	for name, want := range map[string]bool{KeyEdgeURL: true, KeyAccelerateURL: false, KeyPrismaPostgresURL: false} {
		if _, there := got[name]; there != want {
			t.Errorf("that %s is there is %t", name, there)
		}
	}
	if text := string(got[KeyDevVars]); strings.Contains(text, KeyAccelerateURL) {
		t.Errorf("%s has a URL that can not work:\n%s", KeyDevVars, text)
	}
}

func TestTheScriptMakesAKeyOfOnesOwnUser(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("Node.js is missing: `make test` installs it")
	}
	in := forWorkers(func(in *Inputs) { in.Login, in.Database = Login{}, `a "shöp"` })
	run := func(environment ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-")
		cmd.Stdin = strings.NewReader(string(Build(in).Data[KeyAccelerateScript]))
		cmd.Env = environment
		out, err := cmd.Output()
		return strings.TrimSuffix(string(out), "\n"), err
	}
	long := strings.Repeat("long", 200)
	got, err := run("PGUSER=zoë", "PGPASSWORD=it's $mine"+long)
	if err != nil {
		t.Fatal(err)
	}
	want := apikey.Key{Namespace: "demo", Pool: "shop", User: "zoë", Password: "it's $mine" + long, Database: `a "shöp"`}
	if key, origin := keyOf(t, got); key != want || origin != "prisma://shop-demo.edge.example.com/" {
		t.Errorf("it made the key %v at %s", key, origin)
	}
	if got, err := run("PGUSER=zoë"); err == nil || got != "" {
		t.Errorf("without a password it said %q", got)
	}
}
