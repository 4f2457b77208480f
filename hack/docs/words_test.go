// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// spans are what a page says in `code`, with where.
func spans(t *testing.T, visit func(where, span string)) {
	t.Helper()
	for _, page := range pages(t) {
		if strings.HasPrefix(page.Path, "docs/decisions/") {
			continue
		}
		for _, line := range page.Prose {
			for _, span := range code.FindAllString(line, -1) {
				visit(page.Path, strings.Trim(span, "`"))
			}
		}
	}
}

// schemas are those of the kinds, by their names.
func schemas(t *testing.T) map[string]*apiextensionsv1.JSONSchemaProps {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "config/crd/bases/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("looking for definitions: %v, %d are there", err, len(files))
	}
	found := map[string]*apiextensionsv1.JSONSchemaProps{}
	for _, file := range files {
		var definition apiextensionsv1.CustomResourceDefinition
		text, err := os.ReadFile(file)
		if err == nil {
			err = yaml.UnmarshalStrict(text, &definition)
		}
		if err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		found[definition.Spec.Names.Kind] = definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	return found
}

// has reports whether a path of fields leads somewhere. What a field holds that has no
// fields of its own, such as a map, is not looked at.
func has(schema *apiextensionsv1.JSONSchemaProps, fields []string) bool {
	for len(fields) > 0 {
		if schema.Items != nil {
			schema = schema.Items.Schema
			continue
		}
		if len(schema.Properties) == 0 {
			return schema.Type == "object" || schema.XIntOrString || schema.XPreserveUnknownFields != nil
		}
		next, ok := schema.Properties[fields[0]]
		if !ok {
			return false
		}
		schema, fields = &next, fields[1:]
	}
	return true
}

var fieldPath = regexp.MustCompile(`^(?:(ConnectionPool|Upstream)\.)?((?:spec|status)\.[A-Za-z.\[\]]+)`)

// ofOthers are fields of other kinds.
var ofOthers = map[string]string{}

// testFunctions are tests that pages name.
var testFunctions = regexp.MustCompile(`^Test[A-Z]\w+$`)

func TestEveryFieldOfAPageIsInADefinition(t *testing.T) {
	kinds := schemas(t)
	spans(t, func(where, span string) {
		found := fieldPath.FindStringSubmatch(span)
		if found == nil || ofOthers[span] != "" {
			return
		}
		fields := strings.Split(strings.Trim(strings.ReplaceAll(found[2], "[]", ""), ".["), ".")
		for kind, schema := range kinds {
			if (found[1] == "" || found[1] == kind) && has(schema, fields) {
				return
			}
		}
		t.Errorf("%s: no kind has the field %s", where, span)
	})
}

// values reads the chart's values.
func values(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "charts/poolfleet/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]any
	if err := yaml.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	setting  = regexp.MustCompile(`^[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)+(=|:|$)`)
	setValue = regexp.MustCompile(`--set(?:-string)? '?([A-Za-z.]+)[={]`)
)

func TestEveryValueOfAPageIsTheCharts(t *testing.T) {
	chart, pool := values(t), schemas(t)["ConnectionPool"].Properties["spec"]
	spans(t, func(where, span string) {
		key := strings.TrimRight(setting.FindString(span), "=:")
		fields := strings.Split(key, ".")
		if strings.Contains(key, "example.com") {
			return // A name of a host.
		}
		if _, ours := chart[fields[0]]; ours && !hasValue(chart, fields) && !has(&pool, fields) {
			t.Errorf("%s: neither the chart nor a pool's spec has %s", where, key)
		}
	})
	for _, page := range pages(t) {
		for _, block := range page.Blocks {
			for _, found := range setValue.FindAllStringSubmatch(block.Text, -1) {
				if strings.Contains(block.Text, "helm") && !hasValue(chart, strings.Split(found[1], ".")) {
					t.Errorf("%s:%d: the chart has no value %s", page.Path, block.Line, found[1])
				}
			}
		}
	}
}

func hasValue(in map[string]any, path []string) bool {
	value, ok := in[path[0]]
	inside, isMap := value.(map[string]any)
	return ok && (len(path) == 1 || isMap && (len(inside) == 0 || hasValue(inside, path[1:])))
}

// ours is the text of the product, and of its tools.
func ours(t *testing.T) string {
	t.Helper()
	kept := func(path string) bool { return !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".md") }
	return sourceOf(t, kept, "api", "cmd", "controllers", "internal", "charts", "config", "hack/images", "hack/release", "Makefile")
}

func sourceOf(t *testing.T, kept func(path string) bool, roots ...string) string {
	t.Helper()
	var text strings.Builder
	for _, root := range roots {
		err := filepath.WalkDir(filepath.Join(top, root), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !kept(path) {
				return err
			}
			content, err := os.ReadFile(path)
			text.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

var flag = regexp.MustCompile(`^--([a-z][a-z-]+)`)

// foreignFlags are those of others' programs.
var foreignFlags = map[string]string{
	"--no-engine":               "prisma generate",
	"--delete-emptydir-data":    "kubectl drain",
	"--reset-then-reuse-values": "helm upgrade",
}

func TestEveryFlagOfAPageIsOurs(t *testing.T) {
	source := ours(t)
	spans(t, func(where, span string) {
		name := flag.FindStringSubmatch(span)
		if name == nil || foreignFlags[name[0]] != "" {
			return
		}
		if !strings.Contains(source, fmt.Sprintf("%q", name[1])) {
			t.Errorf("%s: no program of ours has the flag %s", where, name[0])
		}
	})
}

// camel is how reasons, conditions, kinds and values of enumerations are spelled.
var camel = regexp.MustCompile(`^[A-Z][a-z]+(?:[A-Z]+[a-z]+)+$`)

// foreignWords are others' own.
var foreignWords = map[string]string{
	"MaxConnLifetime":       "pgxpool",
	"MaxConnectionsPercent": "RDS Proxy",
	"PrismaNeon":            "Prisma's adapter",
	"PrismaNeonHttp":        "Prisma's adapter",
}

// TestEveryReasonOfAPageIsTold finds the reasons, of conditions and events, that a page
// names and nothing of the product says.
func TestEveryReasonOfAPageIsTold(t *testing.T) {
	source, tests := ours(t), sourceOf(t, func(path string) bool { return strings.HasSuffix(path, "_test.go") }, "hack", "internal", "controllers")
	spans(t, func(where, span string) {
		if testFunctions.MatchString(span) {
			if !strings.Contains(tests, "func "+span+"(") {
				t.Errorf("%s: there is no test %s", where, span)
			}
			return
		}
		if camel.MatchString(span) && foreignWords[span] == "" && !regexp.MustCompile(`\b`+span+`\b`).MatchString(source) {
			t.Errorf("%s: nothing of ours says %s", where, span)
		}
	})
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	pool, chart := schemas(t)["ConnectionPool"], values(t)
	for _, path := range []string{"spec.nothing", "spec.upstream.nothing", "status.conditions.nothing", "spec.replicas.nothing"} {
		if has(pool, strings.Split(path, ".")) {
			t.Errorf("a pool has %s", path)
		}
	}
	for _, path := range []string{"nothing", "image.nothing", "edge.limits.nothing", "edge.enabled.nothing"} {
		if hasValue(chart, strings.Split(path, ".")) {
			t.Errorf("the chart has %s", path)
		}
	}
	if !has(pool, []string{"spec", "pod", "resources", "limits"}) || !hasValue(chart, []string{"edge", "limits", "cacheBytes"}) {
		t.Error("what is there is not found")
	}
}
