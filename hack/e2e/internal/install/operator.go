// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Names under which the operator is installed.
const (
	Namespace = "poolfleet-system"
	Release   = "poolfleet"
	// Manager is the name of the operator's Deployment and ServiceAccount.
	Manager = "poolfleet-manager"
)

// Chart is the operator's Helm chart with the images it is to run.
type Chart struct {
	Tools
	// Dir of the chart.
	Dir    string
	Images Images
	// Edge is the gateway; nil installs none.
	Edge *Edge
	// Set are further values, as --set takes them.
	Set []string
	// Flags are further flags of `helm upgrade --install`.
	Flags []string
}

// Install installs or upgrades the release and waits until the operator is ready.
// A release that is as it should be is left alone: changed is then false.
func (c Chart) Install(ctx context.Context) (changed bool, err error) {
	if current, err := c.current(ctx); current || err != nil {
		return false, err
	}
	args := []string{
		"upgrade", "--install", Release, c.Dir, "--namespace", Namespace,
		"--create-namespace", "--wait", "--timeout", "3m",
	}
	_, err = c.Run(ctx, "", c.Helm, slices.Concat(args, c.values(), c.Flags)...)
	return true, err
}

// Uninstall removes the release and waits until it is gone.
func (c Chart) Uninstall(ctx context.Context) error {
	_, err := c.Run(ctx, "", c.Helm, "uninstall", Release, "--namespace", Namespace, "--wait", "--timeout", "2m", "--ignore-not-found")
	return err
}

// Template renders the chart.
func (c Chart) Template(ctx context.Context) (string, error) {
	return c.Run(ctx, "", c.Helm, append([]string{"template", Release, c.Dir, "--namespace", Namespace}, c.values()...)...)
}

func (c Chart) values() []string {
	set := append(c.Images.Manager.values("image"), c.Images.Pooler.values("poolerImage")...)
	if c.Edge != nil {
		set = append(set, c.Edge.values(c.Images)...)
	}
	return []string{"--set", strings.Join(append(set, c.Set...), ",")}
}

// current reports whether the release is deployed and holds what the chart renders now.
func (c Chart) current(ctx context.Context) (bool, error) {
	listed, err := c.Run(ctx, "", c.Helm, "list", "--namespace", Namespace, "--filter", "^"+Release+"$", "--output", "json")
	if err != nil {
		return false, err
	}
	var releases []struct{ Status string }
	if err := json.Unmarshal([]byte(listed), &releases); err != nil {
		return false, fmt.Errorf("reading helm's list of releases: %w", err)
	}
	if len(releases) != 1 || releases[0].Status != "deployed" {
		return false, nil
	}
	installed, err := c.Run(ctx, "", c.Helm, "get", "manifest", Release, "--namespace", Namespace)
	if err != nil {
		return false, err
	}
	rendered, err := c.Template(ctx)
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(installed) == strings.TrimSpace(rendered), nil
}
