// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command chartgen copies what controller-gen made under config into the Helm
// chart, so that kustomize and Helm install the same definitions and permissions.
//
// CustomResourceDefinitions become templates: they are upgraded with the chart and
// kept when it is uninstalled, because deleting them would delete every pool.
// Permissions become a file that holds the rules alone, for the chart's own roles, and so
// do alerts. The dashboard is copied.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	config := flag.String("config", "config", "directory with crd/bases, rbac/role.yaml and monitoring")
	chart := flag.String("chart", "charts/poolfleet", "directory of the chart")
	flag.Parse()
	if err := run(*config, *chart); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

func run(config, chart string) error {
	if err := definitions(filepath.Join(config, "crd", "bases"), filepath.Join(chart, "templates")); err != nil {
		return err
	}
	for _, f := range []struct {
		from, to string
		content  func([]byte) ([]byte, error)
	}{
		{"rbac/role.yaml", "manager-rules.yaml", rulesOf},
		{"monitoring/rules.yaml", "rules/poolfleet.yaml", alertsOf},
		{"monitoring/dashboard.json", "dashboards/poolfleet.json", func(source []byte) ([]byte, error) { return source, nil }},
	} {
		source, err := os.ReadFile(filepath.Join(config, f.from))
		if err != nil {
			return fmt.Errorf("reading what the chart has a copy of: %w", err)
		}
		content, err := f.content(source)
		if err != nil {
			return fmt.Errorf("reading %s: %w", f.from, err)
		}
		if err := write(filepath.Join(chart, "files", f.to), content); err != nil {
			return err
		}
	}
	return nil
}

// definitions writes a template per CustomResourceDefinition and removes the
// template of one that is no more.
func definitions(bases, templates string) error {
	sources, err := filepath.Glob(filepath.Join(bases, "*.yaml"))
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %s: run controller-gen first", bases)
	}
	written := make([]string, 0, len(sources))
	for _, path := range sources {
		target, err := definition(path, templates)
		if err != nil {
			return err
		}
		written = append(written, target)
	}
	present, err := filepath.Glob(filepath.Join(templates, "crd-*.yaml"))
	if err != nil {
		return fmt.Errorf("listing templates in %s: %w", templates, err)
	}
	for _, path := range present {
		if slices.Contains(written, path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing the template of a definition that is no more: %w", err)
		}
	}
	return nil
}

func definition(path, templates string) (string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a definition: %w", err)
	}
	plural, template, err := templateOf(source)
	if err != nil {
		return "", fmt.Errorf("making a template of %s: %w", path, err)
	}
	target := filepath.Join(templates, "crd-"+plural+".yaml")
	return target, write(target, template)
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the directory of %s: %w", path, err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("writing into the chart: %w", err)
	}
	return nil
}
