// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package debian fetches packages of one Debian suite with apt, in a private
// state of its own: it may not change the machine's apt, its installed packages
// or its lists, and it runs nothing that a package brings.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// tools are the programs we call, each with the package that brings it.
var tools = []string{"apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb"}

// RequireTools tells in words what this machine lacks to fetch and unpack packages.
func RequireTools() error {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s not found: this runs on Debian or a system derived from it; elsewhere install the packages apt and dpkg",
			strings.Join(missing, ", "))
	}
	return nil
}

// run returns a program's standard output; its error carries what it said on standard error.
func run(ctx context.Context, program string, args ...string) (string, error) {
	return runIn(ctx, "", program, args...)
}

func runIn(ctx context.Context, dir, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		return "", said(program, err, stderr.String())
	}
	return stdout.String(), nil
}

// said joins how a program ended with its error lines, leaving out warnings.
func said(program string, err error, stderr string) error {
	var lines []string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "W:") {
			lines = append(lines, strings.TrimPrefix(line, "E: "))
		}
	}
	if len(lines) == 0 {
		return fmt.Errorf("%s: %w", program, err)
	}
	return fmt.Errorf("%s: %s", program, strings.Join(lines, "; "))
}

// Files streams the tar of a package's files to read.
func Files(ctx context.Context, archive string, read func(io.Reader) error) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", archive)
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	readErr := read(stdout)
	_, _ = io.Copy(io.Discard, stdout) // The tar's padding, so that dpkg-deb does not die of a closed pipe.
	if err := cmd.Wait(); err != nil {
		return errors.Join(readErr, said("dpkg-deb", err, stderr.String()))
	}
	return readErr
}

// Control returns a package's control stanza, as vulnerability scanners read it.
func Control(ctx context.Context, archive string) (string, error) {
	return run(ctx, "dpkg-deb", "--field", archive)
}

// AtLeast reports whether version is not below floor, by dpkg's ordering
// (deb-version(7): an epoch counts most, and ~ sorts before nothing).
func AtLeast(ctx context.Context, version, floor string) (bool, error) {
	err := exec.CommandContext(ctx, "dpkg", "--compare-versions", version, "ge", floor).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("comparing versions %s and %s: %w", version, floor, err)
	}
	return true, nil
}
