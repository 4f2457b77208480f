// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// local is the registry part of the images' names in config: one that no registry answers to.
const local = "localhost/poolfleet"

// exampleDomain stands in the manifests with the gateway until who applies them replaces it.
const exampleDomain = "edge.example.com"

const head = `# Poolfleet %s: the operator%s.
#
#   kubectl apply --server-side -f %s
#
`

// manifests writes what config makes for who has neither Helm nor kustomize: the
// operator, and the operator with its gateway.
func (r *release) manifests(ctx context.Context, digests map[string]string) error {
	work, err := os.MkdirTemp("", "poolfleet-manifests-")
	if err != nil {
		return fmt.Errorf("making manifests: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.CopyFS(work, os.DirFS(filepath.Join(r.repo, "config"))); err != nil {
		return fmt.Errorf("copying the kustomization: %w", err)
	}
	var images strings.Builder
	images.WriteString("images:\n")
	for _, name := range []string{"manager", "pooler", "edge"} {
		fmt.Fprintf(&images, "  - {name: %s/%s, newName: %s/%s, digest: %q}\n", local, name, cmp.Or(r.registry, local), name, digests[name])
	}
	plain := "resources: [../default]\n" + images.String()
	if err := r.manifest(ctx, work, "poolfleet", "", plain); err != nil {
		return err
	}
	edge := "resources: [../default]\ncomponents: [../edge]\nconfigMapGenerator:\n" +
		"  - {name: poolfleet-edge, namespace: poolfleet-system, literals: [domain=" + exampleDomain + "]}\n" +
		"generatorOptions: {disableNameSuffixHash: true}\n" + images.String()
	return r.manifest(ctx, work, "poolfleet-with-edge", " and the gateway. Put your domain in place of "+exampleDomain, edge)
}

func (r *release) manifest(ctx context.Context, work, name, what, kustomization string) error {
	dir := filepath.Join(work, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("making manifests: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o644); err != nil {
		return fmt.Errorf("making manifests: %w", err)
	}
	objects, err := r.tool(ctx, "kubectl", "kustomize", dir)
	if err != nil {
		return fmt.Errorf("making manifests: %w", err)
	}
	file := name + ".yaml"
	text := fmt.Sprintf(head, r.version, what, file) + objects
	if err := os.WriteFile(filepath.Join(r.out, file), []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing manifests: %w", err)
	}
	return nil
}
