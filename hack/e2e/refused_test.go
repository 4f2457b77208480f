// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// refused are specs that the API server itself turns down, as kubectl shows it.
func (s *story) refused(t *testing.T) {
	cases := map[string]struct{ spec, says string }{
		"a load balancer's class without one": {
			`{upstream: {secretRef: {name: a}}, service: {loadBalancerClass: x}}`,
			"spec.service: Invalid value: loadBalancerClass needs type: LoadBalancer",
		},
		"a load balancer's networks without one": {
			`{upstream: {secretRef: {name: a}}, service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}}`,
			"spec.service: Invalid value: loadBalancerSourceRanges needs type: LoadBalancer",
		},
		"clients let in by a policy that is not made": {
			`{upstream: {secretRef: {name: a}}, networkPolicy: {mode: Disabled, from: [{podSelector: {}}]}}`,
			"spec.networkPolicy: Invalid value: from has no effect unless mode is Enabled: set mode: Enabled or leave from out",
		},
		"a database of the name of PgBouncer's console": {
			`{upstream: {secretRef: {name: a}}, databases: [{name: pgbouncer}]}`,
			`spec.databases[0].name: Invalid value: "pgbouncer": name can not be pgbouncer: PgBouncer keeps that name for its console; choose another and set database to the real one`,
		},
		"a database that can not be written down": {
			`{upstream: {secretRef: {name: a}}, databases: [{name: "*"}]}`,
			`spec.databases[0].name: Invalid value: "*": name must start with a letter, a digit or _, and hold only these and . and -`,
		},
		"an unknown mode": {
			`{upstream: {secretRef: {name: a}}, mode: transaction}`,
			`spec.mode: Unsupported value: "transaction": supported values: "Session", "Transaction", "Statement"`,
		},
		"a minimum above the maximum": {
			`{upstream: {secretRef: {name: a}}, serverConnections: {minimum: 9, maximum: 3}}`,
			"serverConnections.minimum must not be above serverConnections.maximum: lower the one or raise the other",
		},
		"a weight of 0": {
			`{upstream: {secretRef: {name: a}}, serverConnections: {weight: 0}}`,
			"spec.serverConnections.weight: Invalid value: 0: spec.serverConnections.weight in body should be greater than or equal to 1",
		},
		"no Secret": {`{upstream: {}}`, "spec.upstream.secretRef: Required value"},
		"a field that there is not": {
			`{upstream: {secretRef: {name: a}}, poolSize: 20}`,
			`unknown field "spec.poolSize"`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s.applyRefused(t, "refused", c.spec, c.says)
		})
	}
	t.Run("a name too long for the names made from it", func(t *testing.T) {
		s.applyRefused(t, strings.Repeat("a", 53), `{upstream: {secretRef: {name: a}}}`, "metadata.name must be at most 52 characters")
	})
}

func (s *story) applyRefused(t *testing.T, name, spec, says string) {
	t.Helper()
	manifest := "apiVersion: poolfleet.dev/v1alpha1\nkind: ConnectionPool\nmetadata: {name: " + name + ", namespace: " + s.namespace + "}\nspec: " + spec
	_, err := s.tools.Run(t.Context(), manifest, s.tools.Kubectl, "apply", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("kubectl said %v, want %q", err, says)
	}
}

// samples have the API server judge what config/samples offers to users.
func (s *story) samples(t *testing.T) {
	files, err := filepath.Glob(top("config/samples/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no samples: %v", err)
	}
	args := []string{"apply", "--dry-run=server", "--namespace", s.namespace}
	for _, file := range files {
		if filepath.Base(file) != "kustomization.yaml" {
			args = append(args, "-f", file)
		}
	}
	s.kubectl(t, args...)
}
