// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// blank is what the template of krew's manifest leaves to a release.
var blank = regexp.MustCompile(`\{\{([A-Za-z0-9_]+)\}\}`)

// krew fills in the manifest by which `kubectl krew` installs the plugin. Its archives
// have to be there already.
func (r *release) krew(_ context.Context, _ map[string]string) error {
	template, err := os.ReadFile(filepath.Join(r.repo, "hack", "krew", "poolfleet.yaml"))
	if err != nil {
		return fmt.Errorf("reading the template of krew's manifest: %w", err)
	}
	values := map[string]string{"VERSION": r.version, "BASE_URL": strings.TrimSuffix(r.baseURL, "/")}
	for _, platform := range platforms {
		name := strings.ReplaceAll(platform, "/", "_")
		sum, err := sumOf(filepath.Join(r.out, pluginName+"_"+r.version+"_"+name+".tar.gz"))
		if err != nil {
			return fmt.Errorf("reading the plugin for krew's manifest: %w", err)
		}
		values["SHA256_"+name] = sum
	}
	// Comments tell of the template.
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(template), "")
	for _, found := range blank.FindAllStringSubmatch(text, -1) {
		value, known := values[found[1]]
		if !known {
			return fmt.Errorf("filling in krew's manifest: nothing is known of %s", found[0])
		}
		text = strings.ReplaceAll(text, found[0], value)
	}
	if err := os.WriteFile(filepath.Join(r.out, "krew.yaml"), []byte(strings.TrimLeft(text, "\n")), 0o644); err != nil {
		return fmt.Errorf("writing krew's manifest: %w", err)
	}
	return nil
}
