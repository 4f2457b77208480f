// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// page is a page as it is written, and what is known of its kind.
type page struct {
	strings.Builder

	source  source
	kind    string
	version apiextensionsv1.CustomResourceDefinitionVersion
	groups  []group
}

func pageOf(d *apiextensionsv1.CustomResourceDefinition, source source, example sample) (string, error) {
	p := page{source: source, kind: d.Spec.Names.Kind, version: d.Spec.Versions[0]}
	p.groups = source.groupsOf(p.kind)
	p.head(d)
	p.columns(d.Name)
	p.example(example)
	for _, part := range []string{"spec", "status"} {
		if err := p.part(part); err != nil {
			return "", err
		}
	}
	p.conditions()
	return strings.TrimSuffix(p.String(), "\n"), nil
}

// say writes a paragraph.
func (p *page) say(format string, args ...any) {
	fmt.Fprintf(p, format+"\n\n", args...)
}

func (p *page) head(d *apiextensionsv1.CustomResourceDefinition) {
	p.say("# %s", p.kind)
	p.say("<!-- Made by make generate from the types and their comments: change those. -->")
	p.say("%s", prose(p.version.Schema.OpenAPIV3Schema.Description))
	names := append([]string{d.Name}, d.Spec.Names.ShortNames...)
	p.say("| | |\n|---|---|\n| `apiVersion` | `%s/%s` |\n| `kind` | `%s` |\n| for kubectl | `%s` |\n| scope | %s |",
		d.Spec.Group, p.version.Name, p.kind, strings.Join(names, "`, `"), d.Spec.Scope)
	p.say("[spec](#spec) is what you write, [status](#status) what the operator tells, and [conditions and reasons](%s) its words in short.", conditionsAnchor)
	p.rules(p.version.Schema.OpenAPIV3Schema)
}

func (p *page) columns(resource string) {
	p.say("## What kubectl shows")
	rows := []string{"| Column of `kubectl get " + resource + "` | From | |", "|---|---|---|"}
	for _, c := range p.version.AdditionalPrinterColumns {
		name := c.Name
		if c.Priority > 0 {
			name += " (with `-o wide`)"
		}
		rows = append(rows, strings.TrimRight(fmt.Sprintf("| %s | `%s` | %s", name, c.JSONPath, escaped(c.Description)), " ")+" |")
	}
	p.say("%s", strings.Join(rows, "\n"))
}

func (p *page) example(of sample) {
	if of.text == "" {
		return
	}
	p.say("## Example")
	p.say("`config/samples/%s`:", of.name)
	p.say("```yaml\n%s\n```", strings.TrimSpace(of.text))
}

// part is the spec or the status: a list of its fields, then each with all below it.
func (p *page) part(name string) error {
	root := p.version.Schema.OpenAPIV3Schema
	schema, ok := root.Properties[name]
	if !ok {
		return fmt.Errorf("it has no %s", name)
	}
	whole := field{path: name, name: name, schema: &schema, required: slices.Contains(root.Required, name)}
	p.say("## %s", name)
	p.about(whole)
	for _, m := range p.source.structs[p.kind] {
		if m.name == name {
			whole.of = m.of
		}
	}
	fields, err := p.fieldsOf(whole)
	if err != nil {
		return err
	}
	rows := []string{"| Field | |", "|---|---|"}
	for _, f := range fields {
		first, _ := firstSentence(strings.TrimPrefix(f.schema.Description, f.name+" "))
		rows = append(rows, fmt.Sprintf("| [`%s`](#%s) | %s |", f.name, f.anchor(), escaped(first)))
	}
	p.say("%s", strings.Join(rows, "\n"))
	return p.entries(fields, "###")
}

// conditionsTitle heads what conditions say; the field with the conditions leads there.
const conditionsTitle, conditionsAnchor = "Conditions and reasons", "#conditions-and-reasons"

func (p *page) conditions() {
	p.say("## %s", conditionsTitle)
	for _, g := range p.groups {
		p.say("### %s", g.title)
		if g.rest != "" {
			p.say("%s", prose(g.rest))
		}
		p.constants(g.constants)
	}
}

// constants lists values and what each means.
func (p *page) constants(all []constant) {
	lines := make([]string, 0, len(all))
	for _, c := range all {
		lines = append(lines, fmt.Sprintf("- `%s` %s", c.value, escaped(oneLine(c.says))))
	}
	if len(lines) > 0 {
		p.say("%s", strings.Join(lines, "\n"))
	}
}
