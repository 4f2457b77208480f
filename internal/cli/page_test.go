// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestThePageTellsOfEveryCommandAndFormat(t *testing.T) {
	data, err := os.ReadFile("../../docs/plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, command := range Root(Streams{}).Commands() {
		headed := strings.Contains(page, "\n## "+command.Name()) || strings.Contains(page, ", "+command.Name()+"\n")
		if !headed && command.Name() != "help" && command.Name() != "completion" {
			t.Errorf("docs/plugin.md has no section on %s", command.Name())
		}
	}
	for _, format := range formats {
		if !strings.Contains(page, "| `"+format+"`") {
			t.Errorf("docs/plugin.md does not tell of --format %s", format)
		}
	}
	for _, shown := range []string{"status.txt", "plan-two.txt"} {
		text, err := os.ReadFile("testdata/" + shown)
		if err != nil {
			t.Fatal(err)
		}
		answer, _, _ := strings.Cut(string(text), "\n---")
		if !strings.Contains(page, answer) {
			t.Errorf("docs/plugin.md does not show what testdata/%s has", shown)
		}
	}
}

// TestTheKrewManifestNamesWhatAReleaseHas holds it against the plugin's own words.
func TestTheKrewManifestNamesWhatAReleaseHas(t *testing.T) {
	data, err := os.ReadFile("../../hack/krew/poolfleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root := Root(Streams{})
	for _, want := range []string{
		"shortDescription: " + root.Short, "kubectl-poolfleet_{{VERSION}}_linux_amd64.tar.gz",
		"kubectl-poolfleet_{{VERSION}}_darwin_arm64.tar.gz", "bin: kubectl-poolfleet.exe",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("hack/krew/poolfleet.yaml lacks %q", want)
		}
	}
}

func TestEveryFlagSaysWhatItIsFor(t *testing.T) {
	for _, command := range Root(Streams{}).Commands() {
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			if flag.Usage == "" {
				t.Errorf("%s --%s says nothing of itself", command.Name(), flag.Name)
			}
		})
	}
}
