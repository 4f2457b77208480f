// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const (
	generatedBy = "# Generated from config/ by hack/tools/chartgen: change it there and run `make generate`.\n"
	annotations = "\n  annotations:\n"
	keep        = annotations + "    helm.sh/resource-policy: keep\n"
)

// templateOf returns the plural name of the CustomResourceDefinition in source and
// a Helm template of it. The text stays as controller-gen wrote it, so that a diff
// of the template shows what a diff of the definition shows.
func templateOf(source []byte) (plural string, template []byte, err error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(source, &crd); err != nil {
		return "", nil, fmt.Errorf("parsing: %w", err)
	}
	if crd.Kind != "CustomResourceDefinition" || crd.Spec.Names.Plural == "" {
		return "", nil, fmt.Errorf("it holds a %q, not a CustomResourceDefinition", crd.Kind)
	}
	body := strings.TrimPrefix(string(source), "---\n")
	metadata, spec, found := strings.Cut(body, "\nspec:\n")
	if !found || strings.Count(metadata, annotations) != 1 {
		return "", nil, errors.New("its metadata is not laid out as controller-gen writes it")
	}
	metadata = strings.Replace(metadata, annotations, keep, 1)
	var out bytes.Buffer
	out.WriteString(generatedBy)
	out.WriteString("{{- if .Values.crds.install }}\n")
	out.WriteString(escape(metadata + "\nspec:\n" + spec))
	out.WriteString("{{- end }}\n")
	return crd.Spec.Names.Plural, out.Bytes(), nil
}

// escape makes text survive Helm's template engine, which acts on "{{" alone:
// "}}" outside of an action is text to it.
func escape(text string) string {
	return strings.ReplaceAll(text, "{{", `{{ "{{" }}`)
}

// rulesOf returns the rules of the one ClusterRole in source as a YAML list. A
// second document, which a marker with a namespace would make, has no place in the
// chart's file and is refused rather than lost.
func rulesOf(source []byte) ([]byte, error) {
	if bytes.Contains(bytes.TrimPrefix(source, []byte("---\n")), []byte("\n---\n")) {
		return nil, errors.New("the manager's role is more than one document: leave namespace= out of the RBAC markers")
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(source, &role); err != nil {
		return nil, fmt.Errorf("parsing the manager's role: %w", err)
	}
	if role.Kind != "ClusterRole" || len(role.Rules) == 0 {
		return nil, fmt.Errorf("the manager's role is a %q with %d rules, not a ClusterRole with some", role.Kind, len(role.Rules))
	}
	rules, err := yaml.Marshal(role.Rules)
	if err != nil {
		return nil, fmt.Errorf("writing the rules: %w", err)
	}
	return append([]byte(generatedBy), rules...), nil
}

// alertsOf returns the rules of the PrometheusRule in source as a file of Prometheus' own,
// with its comments. PromQL and the templates in it are left as they are, since the chart
// does not run the file through its engine.
func alertsOf(source []byte) ([]byte, error) {
	_, spec, found := strings.Cut(string(source), "\nspec:\n")
	if !found || !bytes.Contains(source, []byte("\nkind: PrometheusRule\n")) {
		return nil, errors.New("it holds no PrometheusRule with a spec")
	}
	var out strings.Builder
	out.WriteString(generatedBy)
	for line := range strings.Lines(spec) {
		indented, isPart := strings.CutPrefix(line, "  ")
		if !isPart && line != "\n" {
			return nil, fmt.Errorf("a line after spec is not part of it: %s", line)
		}
		out.WriteString(indented)
	}
	return []byte(out.String()), nil
}
