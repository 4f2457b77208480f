// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSourcesAreReadAsAptReadsThem(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []Source
	}{
		"one line, with options and a comment": {
			"sources.list",
			"# deb http://old.example bookworm main\ndeb [ arch=amd64 signed-by=/k.gpg ] http://a.example/debian trixie main contrib # mine\ndeb-src http://a.example/debian trixie main\n",
			[]Source{{URI: "http://a.example/debian", Suites: []string{"trixie"}}},
		},
		"deb822, with comments between keys and values over several lines": {
			"debian.sources",
			"Types: deb\n# http://snapshot.example\nURIs: http://a.example/debian\n http://b.example/debian\nSuites: bookworm\n bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
			[]Source{
				{URI: "http://a.example/debian", Suites: []string{"bookworm", "bookworm-updates"}},
				{URI: "http://b.example/debian", Suites: []string{"bookworm", "bookworm-updates"}},
			},
		},
		"deb822 keys in another case": {
			"debian.sources", "types: deb deb-src\nuris: https://a.example/debian\nsuites: sid\ncomponents: main non-free\n",
			[]Source{{URI: "https://a.example/debian", Suites: []string{"sid"}}},
		},
		"a stanza that is switched off": {
			"debian.sources", "Enabled: no\nTypes: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n", nil,
		},
		"the security archive, which is another tree": {
			"debian.sources", "Types: deb\nURIs: http://a.example/debian-security\nSuites: bookworm-security\nComponents: main\n", nil,
		},
		"a vendor's archive": {
			"vendor.sources", "Types: deb\nURIs: https://vendor.example/node\nSuites: nodistro\nComponents: main\n", nil,
		},
		"a disc":                {"sources.list", "deb cdrom:[Debian]/ bookworm main\n", nil},
		"a line cut off":        {"sources.list", "deb [arch=amd64\ndeb http://a.example\n", nil},
		"an address told twice": {"sources.list", "deb http://a.example/debian sid main\ndeb http://a.example/debian forky main\n", []Source{{URI: "http://a.example/debian", Suites: []string{"sid"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.file)
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readSources([]string{"", filepath.Join(t.TempDir(), "absent.list"), file})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAptConfigsShellWordsAreRead(t *testing.T) {
	got := shellValues("list='/etc/apt/sources.list'\nparts='/etc/apt/sources.list.d/'\n")
	want := map[string]string{"list": "/etc/apt/sources.list", "parts": "/etc/apt/sources.list.d/"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}
