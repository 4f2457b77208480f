// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// kubernetesOwn are fields of types that Kubernetes documents itself; the reference links to them.
var kubernetesOwn = []string{"metadata", "affinity", "tolerations", "topologySpreadConstraints", "resources", "from", "conditions", "matchExpressions"}

func TestTheReferenceHasEveryField(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "docs/reference/api.md"))
	if err != nil {
		t.Fatal(err)
	}
	for kind, schema := range schemas(t) {
		eachField(kind, schema, func(path, name string) {
			if !strings.Contains(string(text), "| `"+name+"` _") {
				t.Errorf("docs/reference/api.md does not have %s", path)
			}
		})
	}
}

// eachField visits the fields of our own types.
func eachField(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(path, name string)) {
	if schema.Items != nil {
		eachField(path+"[]", schema.Items.Schema, visit)
	}
	for name, field := range schema.Properties {
		visit(path+"."+name, name)
		if !slices.Contains(kubernetesOwn, name) {
			eachField(path+"."+name, &field, visit)
		}
	}
}
