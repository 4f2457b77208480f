// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/poolfleet/poolfleet/hack/release/internal/sbom"
)

const pluginName = "kubectl-poolfleet"

// platforms are those that the plugin is built for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

// plugin builds kubectl's plugin, which kubectl finds by its name on the PATH.
func (r *release) plugin(ctx context.Context, _ map[string]string) error {
	for _, platform := range platforms {
		system, arch, _ := strings.Cut(platform, "/")
		if err := r.pluginFor(ctx, system, arch); err != nil {
			return fmt.Errorf("building %s for %s: %w", pluginName, platform, err)
		}
	}
	return nil
}

func (r *release) pluginFor(ctx context.Context, system, arch string) error {
	work, err := os.MkdirTemp("", "poolfleet-plugin-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	name := pluginName
	if system == "windows" {
		name += ".exe"
	}
	program := filepath.Join(work, name)
	if err := r.compile(ctx, program, system, arch); err != nil {
		return err
	}
	bom, err := sbom.OfProgram(program, pluginName, r.version)
	if err != nil {
		return err
	}
	base := filepath.Join(r.out, fmt.Sprintf("%s_%s_%s_%s", pluginName, r.version, system, arch))
	if err := sbom.Write(base+".cdx.json", bom); err != nil {
		return err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(r.repo, "LICENSE"))
	if err != nil {
		return err
	}
	return pack(base+".tar.gz", []entry{{name, 0o755, content}, {"LICENSE", 0o644, license}})
}

// compile gives the same bytes for the same sources, wherever they lie.
func (r *release) compile(ctx context.Context, program, system, arch string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", program, "./cmd/"+pluginName)
	cmd.Dir = r.repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOWORK=off")
	_, err := output(cmd)
	return err
}
