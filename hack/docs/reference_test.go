// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// reference is the page of a kind, line by line.
func reference(t *testing.T, kind string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, referencePath(kind)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func referencePath(kind string) string {
	return path.Join("docs/reference", strings.ToLower(kind)+".md")
}

func TestAKindsPageHasEveryFieldByItsPath(t *testing.T) {
	for kind, schema := range schemas(t) {
		lines := reference(t, kind)
		for _, part := range []string{"spec", "status"} {
			root := schema.Properties[part]
			eachField(part, &root, func(path string, _ *apiextensionsv1.JSONSchemaProps) {
				told := slices.Contains(lines, "### `"+path+"`") || slices.Contains(lines, "#### `"+path+"`") || slices.Contains(lines, path)
				if !told {
					t.Errorf("%s does not have %s", referencePath(kind), path)
				}
			})
		}
	}
}

func TestAKindsPageHasEveryRule(t *testing.T) {
	for kind, schema := range schemas(t) {
		lines := reference(t, kind)
		told := func(path string, field *apiextensionsv1.JSONSchemaProps) {
			rules := field.XValidations
			if field.Items != nil {
				rules = append(slices.Clone(rules), field.Items.Schema.XValidations...)
			}
			for _, rule := range rules {
				if !slices.Contains(lines, "- `"+rule.Message+"`") {
					t.Errorf("%s does not have the rule of %s: %s", referencePath(kind), path, rule.Message)
				}
			}
		}
		told(kind, schema)
		eachField(kind, schema, told)
	}
}

func TestAKindsPageHasItsConditionsAndReasons(t *testing.T) {
	cases := map[string][]string{
		"ConnectionPool": {poolv1.ConditionReady, poolv1.ConditionStalled, poolv1.ReasonInsufficientBudget, poolv1.ReasonNoGateway, poolv1.EventRotated},
		"Upstream":       {poolv1.ConditionReachable, poolv1.ReasonOverBudget, poolv1.EventBudgetShrank},
	}
	for kind, words := range cases {
		text := strings.Join(reference(t, kind), "\n")
		for _, word := range words {
			if !strings.Contains(text, "\n- `"+word+"` ") {
				t.Errorf("%s does not have %s", referencePath(kind), word)
			}
		}
	}
	if text := strings.Join(reference(t, "Upstream"), "\n"); strings.Contains(text, "`"+poolv1.ReasonNoGateway+"`") {
		t.Error("the page of Upstream has a reason that is a pool's alone")
	}
}

// eachField visits all fields below a path, and what is in their lists.
func eachField(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(path string, field *apiextensionsv1.JSONSchemaProps)) {
	for name, field := range schema.Properties {
		visit(path+"."+name, &field)
		eachField(path+"."+name, &field, visit)
	}
	if schema.Items != nil {
		eachField(path+"[]", schema.Items.Schema, visit)
	}
}
