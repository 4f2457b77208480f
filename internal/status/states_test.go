// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/status"
)

var update = flag.Bool("update", false, "write the states anew")

// statesFile is read by the tests of what GitOps tools make of a status.
const statesFile = "../../hack/gitops/testdata/states.yaml"

// state is the conditions of an object.
type state struct {
	Kind       string             `json:"kind"`
	Name       string             `json:"name"`
	Conditions []metav1.Condition `json:"conditions"`
}

// blocks are the reasons that can stop a pool, by the condition that says so.
var blocks = map[string][]string{
	poolv1.ConditionUpstreamObserved: {
		poolv1.ReasonSecretMissing, poolv1.ReasonKeyMissing, poolv1.ReasonInvalidURL, poolv1.ReasonHostUnknown, poolv1.ReasonUnreachable,
		poolv1.ReasonAuthenticationFailed, poolv1.ReasonDatabaseMissing, poolv1.ReasonTLSFailed, poolv1.ReasonInRecovery,
		poolv1.ReasonNotInRecovery, poolv1.ReasonAlreadyPooled, poolv1.ReasonServerFull, poolv1.ReasonRoleFull,
		poolv1.ReasonDatabaseFull, poolv1.ReasonAddressForbidden,
	},
	poolv1.ConditionBudgetGranted:    {poolv1.ReasonNamespaceNotAllowed},
	poolv1.ConditionPoolersAvailable: {poolv1.ReasonNameConflict, poolv1.ReasonRefused},
	poolv1.ConditionConfigApplied: {
		poolv1.ReasonRejected, poolv1.ReasonCertificateMissing, poolv1.ReasonCertificateInvalid, poolv1.ReasonIssuerMissing, poolv1.ReasonLookupMissing,
	},
	poolv1.ConditionEdgePublished: {poolv1.ReasonNameTaken, poolv1.ReasonNameInvalid, poolv1.ReasonNoGateway},
}

// states are all that are tried in this package, and each reason that can stop a pool,
// before it ever ran and while it runs.
func states() map[string]state {
	all := map[string]state{}
	pool := func(name string, facts status.Facts) {
		all["ConnectionPool: "+name] = state{"ConnectionPool", name, status.Compute(facts, now)}
	}
	for name, c := range poolStates {
		pool(name, c.facts)
	}
	for name, c := range pauseStates {
		pool("paused: "+name, c.facts)
	}
	for kind, reasons := range blocks {
		for _, reason := range reasons {
			block := status.Block(kind, reason, "what to do")
			if kind == poolv1.ConditionEdgePublished {
				pool("at the edge: "+reason, settled(func(f *status.Facts) { f.Edge = &status.Edge{Refused: block} }))
				continue
			}
			pool("before it ran: "+reason, status.Facts{Generation: 1, Blocked: block})
			pool("while it runs: "+reason, settled(func(f *status.Facts) { f.Blocked = block }))
		}
	}
	for name, c := range upstreamStates {
		all["Upstream: "+name] = state{"Upstream", name, status.ComputeUpstream(c.facts, now)}
	}
	return all
}

func TestGitOpsToolsAreTriedOnEveryState(t *testing.T) {
	got, err := yaml.Marshal(states())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(statesFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(statesFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what go test ./internal/status -update writes (-file +states):\n%s", statesFile, diff)
	}
}

func TestEveryReasonIsAStateThatIsTried(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range states() {
		for _, c := range s.Conditions {
			seen[c.Reason] = true
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		if reasons++; !seen[value] {
			t.Errorf("no state has the reason %s: add one to this package's tests", value)
		}
		return true
	})
	if reasons == 0 {
		t.Error("no reason was found in conditions.go")
	}
}
