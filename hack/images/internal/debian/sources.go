// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source is one address that apt, on this machine, reads Debian itself from.
type Source struct {
	// URI is the archive's address as apt's settings spell it.
	URI string
	// Suites are the suites this machine reads from there.
	Suites []string
}

// codenames are the suites by which we tell Debian's own archive from a vendor's:
// nothing in apt's settings says whose packages an address serves.
var codenames = []string{
	"bullseye", "bookworm", "trixie", "forky", "duke", "sid",
	"oldoldstable", "oldstable", "stable", "testing", "unstable", "experimental",
}

// Sources reads apt's own settings of this machine: the one-line style
// (sources.list(5)) and deb822 files, wherever apt-config says they are.
func Sources(ctx context.Context) ([]Source, error) {
	out, err := run(ctx, "apt-config", "shell", "list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d")
	if err != nil {
		return nil, fmt.Errorf("asking apt where its sources are listed: %w", err)
	}
	paths := shellValues(out)
	files := []string{paths["list"]}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, _ := filepath.Glob(filepath.Join(paths["parts"], pattern)) // The pattern is ours, so it cannot be malformed.
		files = append(files, found...)
	}
	return readSources(files)
}

func readSources(files []string) ([]Source, error) {
	var sources []Source
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) || file == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt's sources: %w", err)
		}
		if strings.HasSuffix(file, ".sources") {
			sources = append(sources, parseDeb822(string(text))...)
		} else {
			sources = append(sources, parseOneLine(string(text))...)
		}
	}
	return onlyDebian(sources), nil
}

// shellValues reads the KEY='value' lines of `apt-config shell`.
func shellValues(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = strings.Trim(value, "'")
		}
	}
	return values
}

// parseOneLine reads `deb [options] uri suite component...` lines.
func parseOneLine(text string) []Source {
	var sources []Source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "deb" {
			continue
		}
		fields = withoutOptions(fields[1:])
		if len(fields) >= 3 && slices.Contains(fields[2:], "main") {
			sources = append(sources, Source{URI: fields[0], Suites: []string{fields[1]}})
		}
	}
	return sources
}

// withoutOptions drops a leading `[ ... ]`, which may hold spaces.
func withoutOptions(fields []string) []string {
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "[") {
		return fields
	}
	for i, field := range fields {
		if strings.HasSuffix(field, "]") {
			return fields[i+1:]
		}
	}
	return nil
}

// parseDeb822 reads stanzas of `Key: value`, where a line that starts with a
// blank goes on with the value before it and one that starts with # is a comment.
func parseDeb822(text string) []Source {
	var sources []Source
	stanza, last := map[string]string{}, ""
	finish := func() {
		sources = append(sources, fromStanza(stanza)...)
		stanza, last = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "#"):
		case trimmed == "":
			finish()
		case line[0] == ' ' || line[0] == '\t':
			stanza[last] += " " + trimmed
		default:
			key, value, _ := strings.Cut(trimmed, ":")
			last = strings.ToLower(key)
			stanza[last] = strings.TrimSpace(value)
		}
	}
	finish()
	return sources
}

func fromStanza(stanza map[string]string) []Source {
	off := slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(stanza["enabled"]))
	if off || !slices.Contains(strings.Fields(stanza["types"]), "deb") ||
		!slices.Contains(strings.Fields(stanza["components"]), "main") {
		return nil
	}
	var sources []Source
	for uri := range strings.FieldsSeq(stanza["uris"]) {
		sources = append(sources, Source{URI: uri, Suites: strings.Fields(stanza["suites"])})
	}
	return sources
}

// onlyDebian keeps the addresses that serve a suite of Debian proper. The
// security archive is another tree, which has neither testing nor unstable.
func onlyDebian(sources []Source) []Source {
	var kept []Source
	for _, source := range sources {
		proper := slices.ContainsFunc(source.Suites, func(suite string) bool {
			return slices.Contains(codenames, strings.TrimSuffix(strings.TrimSuffix(suite, "-updates"), "-backports"))
		})
		known := slices.ContainsFunc(kept, func(other Source) bool { return other.URI == source.URI })
		if proper && !known && !strings.HasPrefix(source.URI, "cdrom:") {
			kept = append(kept, source)
		}
	}
	return kept
}
