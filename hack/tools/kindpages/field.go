// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// field is one field of a kind.
type field struct {
	// path leads there from the object, with [] behind each list.
	path string
	name string
	// of is its Go type, or that of its items.
	of       string
	schema   *apiextensionsv1.JSONSchemaProps
	required bool
}

var notInAnchor = regexp.MustCompile(`[^a-z0-9_-]`)

// anchor is what GitHub calls the heading of the field.
func (f field) anchor() string {
	return notInAnchor.ReplaceAllString(strings.ToLower(f.path), "")
}

// inside is the schema that has fields, and the path to it.
func (f field) inside() (string, *apiextensionsv1.JSONSchemaProps) {
	if f.schema.Items != nil {
		return f.path + "[]", f.schema.Items.Schema
	}
	return f.path, f.schema
}

// fieldsOf are the fields of an object of ours, in the order of the Go type.
func (p *page) fieldsOf(parent field) ([]field, error) {
	path, schema := parent.inside()
	members := p.source.structs[parent.of]
	if len(members) != len(schema.Properties) {
		return nil, fmt.Errorf("%s has %d fields, and the type %s has %d: run controller-gen first", path, len(schema.Properties), parent.of, len(members))
	}
	fields := make([]field, 0, len(members))
	for _, m := range members {
		child, ok := schema.Properties[m.name]
		if !ok {
			return nil, fmt.Errorf("%s has no field %s, as the type %s has: run controller-gen first", path, m.name, parent.of)
		}
		fields = append(fields, field{path + "." + m.name, m.name, m.of, &child, slices.Contains(schema.Required, m.name)})
	}
	return fields, nil
}

// entries writes fields, each followed by what is below it.
func (p *page) entries(fields []field, heading string) error {
	for _, f := range fields {
		p.entry(f, heading)
		_, schema := f.inside()
		if len(schema.Properties) == 0 || f.foreign() {
			continue
		}
		below, err := p.fieldsOf(f)
		if err != nil {
			return err
		}
		if err := p.entries(below, "####"); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) entry(f field, heading string) {
	p.say("%s `%s`", heading, f.path)
	p.about(f)
	if f.foreign() {
		p.outline(f)
	}
}

// about says what a field accepts and means.
func (p *page) about(f field) {
	facts := append([]string{typeName(f.schema)}, limits(f.schema)...)
	if f.schema.Default != nil {
		facts = append(facts, "default "+value(*f.schema.Default))
	}
	p.say("%s", strings.Join(append(facts, f.presence()...), " · "))
	p.say("%s", prose(named(f.name, f.schema.Description)))
	p.constants(p.source.values[f.of])
	p.rules(f.schema)
	if f.schema.Items != nil {
		p.rules(f.schema.Items.Schema)
	}
}

// presence says whether a field has to be there. The operator alone writes a status.
func (f field) presence() []string {
	ofStatus := strings.HasPrefix(f.path, "status")
	switch {
	case ofStatus && f.required:
		return []string{"always there"}
	case ofStatus:
		return nil
	case f.required:
		return []string{"required"}
	}
	return []string{"optional"}
}

// foreign reports whether the fields below are those of a type that others explain.
func (f field) foreign() bool {
	_, schema := f.inside()
	return len(schema.Properties) > 0 && strings.Contains(f.of, ".")
}

// outline names what is below a foreign field, and leads to who explains it.
func (p *page) outline(f field) {
	dot := strings.LastIndex(f.of, ".")
	if strings.HasSuffix(f.of, ".Condition") {
		p.say("What they are and say: [%s](%s).", strings.ToLower(conditionsTitle), conditionsAnchor)
	}
	p.say("Kubernetes explains [%s](https://pkg.go.dev/%s#%s), which has:", f.of[dot+1:], f.of[:dot], f.of[dot+1:])
	paths := []string{}
	below(f.path, f.schema, func(path string) { paths = append(paths, path) })
	p.say("```text\n%s\n```", strings.Join(paths, "\n"))
}

// below visits the paths under a schema, sorted.
func below(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(string)) {
	if schema.Items != nil {
		path, schema = path+"[]", schema.Items.Schema
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		visit(path + "." + name)
		child := schema.Properties[name]
		below(path+"."+name, &child, visit)
	}
}

// rules says what the API server checks beyond a field's limits, in the very words that it
// refuses an object with.
func (p *page) rules(schema *apiextensionsv1.JSONSchemaProps) {
	if len(schema.XValidations) == 0 {
		return
	}
	lines := []string{"Rules, in the API server's words:", ""}
	for _, r := range schema.XValidations {
		lines = append(lines, "- `"+oneLine(cmp.Or(r.Message, r.Rule))+"`")
	}
	p.say("%s", strings.Join(lines, "\n"))
}
