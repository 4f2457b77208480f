// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command kindpages writes a page of reference for each kind, with every field.
//
// What a field accepts and means is taken from the definitions that controller-gen
// made, which is what an API server goes by. The types they were made from give the
// order of the fields, and the words on values, conditions and reasons.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	config := flag.String("config", "config", "directory with crd/bases and samples")
	types := flag.String("types", "api/v1alpha1", "directory of the Go types")
	out := flag.String("out", "docs/reference", "directory of the pages")
	flag.Parse()
	if err := run(*config, *types, *out); err != nil {
		fmt.Fprintln(os.Stderr, "kindpages:", err)
		os.Exit(1)
	}
}

func run(config, types, out string) error {
	source, err := parseTypes(types)
	if err != nil {
		return err
	}
	definitions, err := filepath.Glob(filepath.Join(config, "crd", "bases", "*.yaml"))
	if err != nil || len(definitions) == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %s: run controller-gen first", config)
	}
	for _, path := range definitions {
		if err := write(path, filepath.Join(config, "samples"), source, out); err != nil {
			return fmt.Errorf("making a page of %s: %w", path, err)
		}
	}
	return nil
}

func write(definition, samples string, source source, out string) error {
	var d apiextensionsv1.CustomResourceDefinition
	if err := read(definition, &d); err != nil {
		return err
	}
	if len(d.Spec.Versions) != 1 || d.Spec.Versions[0].Schema == nil {
		return fmt.Errorf("it has %d versions, and a page describes one with a schema", len(d.Spec.Versions))
	}
	example, err := sampleOf(d.Spec.Names.Kind, samples)
	if err != nil {
		return err
	}
	text, err := pageOf(&d, source, example)
	if err != nil {
		return err
	}
	target := filepath.Join(out, d.Spec.Names.Singular+".md")
	if err := os.WriteFile(target, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing a page: %w", err)
	}
	return nil
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading YAML: %w", err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	return nil
}

// sample is a file that users can start from.
type sample struct {
	name, text string
}

// sampleOf is the first sample of the kind: of those that the samples' kustomization
// lists, which are for everybody, and then of the others. Without one it is empty.
func sampleOf(kind, directory string) (sample, error) {
	var list struct{ Resources []string }
	if err := read(filepath.Join(directory, "kustomization.yaml"), &list); err != nil {
		return sample{}, err
	}
	others, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil {
		return sample{}, fmt.Errorf("looking for samples: %w", err)
	}
	for _, path := range others {
		list.Resources = append(list.Resources, filepath.Base(path))
	}
	for _, name := range list.Resources {
		text, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			return sample{}, fmt.Errorf("reading a sample: %w", err)
		}
		if strings.Contains(string(text), "\nkind: "+kind+"\n") {
			return sample{name, string(text)}, nil
		}
	}
	return sample{}, nil
}
