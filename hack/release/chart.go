// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// chartImages are where values.yaml says which image is meant.
var chartImages = map[string][]string{
	"manager":           {"image"},
	"pooler":            {"poolerImage"},
	"edge":              {"edge", "image"},
	"accelerate-legacy": {"edge", "accelerateLegacy", "image"},
}

// chart packs the chart with the release's version and the images' digests, so that an
// installation runs the very images that were released with it.
func (r *release) chart(ctx context.Context, digests map[string]string) error {
	work, err := os.MkdirTemp("", "poolfleet-chart-")
	if err != nil {
		return fmt.Errorf("packing the chart: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	source := filepath.Join(work, "poolfleet")
	if err := os.CopyFS(source, os.DirFS(filepath.Join(r.repo, "charts", "poolfleet"))); err != nil {
		return fmt.Errorf("copying the chart: %w", err)
	}
	if err := r.values(filepath.Join(source, "values.yaml"), digests); err != nil {
		return err
	}
	_, err = r.tool(ctx, "helm", "package", source, "--version", r.version, "--app-version", r.version, "--destination", work)
	if err != nil {
		return fmt.Errorf("packing the chart: %w", err)
	}
	name := "poolfleet-" + r.version + ".tgz"
	return repack(filepath.Join(work, name), filepath.Join(r.out, name))
}

// values names the images in values.yaml, and leaves its comments as they are.
func (r *release) values(file string, digests map[string]string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the chart's values: %w", err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("reading the chart's values: %w", err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for name, path := range chartImages {
		set := map[string]string{"digest": digests[name]}
		if r.registry != "" {
			set["repository"] = r.registry + "/" + name
		}
		for key, value := range set {
			if err := fill(lines, document.Content[0], append(slices.Clip(path), key), value); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("writing the chart's values: %w", err)
	}
	return nil
}

// fill puts value between the quotes of the empty string that a path of keys leads to.
func fill(lines []string, node *yaml.Node, path []string, value string) error {
	for _, key := range path {
		if node = child(node, key); node == nil {
			return fmt.Errorf("naming images in the chart's values: there is no %s", strings.Join(path, "."))
		}
	}
	line, column := &lines[node.Line-1], node.Column-1
	before, after := (*line)[:column], (*line)[column:]
	rest, empty := strings.CutPrefix(after, `""`)
	if !empty {
		return fmt.Errorf(`naming images in the chart's values: %s is not ""`, strings.Join(path, "."))
	}
	*line = before + `"` + value + `"` + rest
	return nil
}

func child(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}
