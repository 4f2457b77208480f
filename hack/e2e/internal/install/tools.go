// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package install puts the operator and PostgreSQL servers onto a cluster, with
// the tools and the files that users have: helm, kubectl, the chart and the
// kustomization. It may not take any way that users do not have.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tools are the programs to install with, and the cluster they act on.
type Tools struct {
	Kubectl, Helm string
	// Kubeconfig names the cluster; empty leaves it to the programs.
	Kubeconfig string
}

// FindTool returns the first of bin/name and name on the PATH that is there.
func FindTool(bin, name string) (string, error) {
	if path, err := filepath.Abs(filepath.Join(bin, name)); err == nil && executable(path) {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("finding %s: it is neither in %s nor on the PATH; `make cluster-up` builds one", name, bin)
	}
	return path, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// KubectlApply applies manifests with kubectl, as the user would, server-side.
func (t Tools) KubectlApply(ctx context.Context, manifests string) error {
	_, err := t.Run(ctx, manifests, t.Kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// Run returns a program's standard output. Its error ends with what the program said.
func (t Tools) Run(ctx context.Context, input, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = os.Environ()
	if t.Kubeconfig != "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+t.Kubeconfig)
	}
	var output, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problem
	if err := cmd.Run(); err != nil {
		said := errors.New(strings.TrimSpace(problem.String()))
		return "", fmt.Errorf("running %s %s: %w: %w", filepath.Base(program), args[0], err, said)
	}
	return output.String(), nil
}
