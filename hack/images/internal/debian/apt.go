// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Apt is one suite, seen through apt with lists and caches under Cache.
type Apt struct {
	// Suite is a suite of Debian, such as forky.
	Suite string
	// Arch is Debian's name of the architecture, such as amd64.
	Arch string
	// Cache is the folder for lists and packages; it is made if absent.
	Cache string
	// Mirrors are tried in order until one has the suite.
	Mirrors []string
	// Keyring is the file with Debian's archive keys.
	Keyring string
	// Say receives progress, one line each.
	Say func(format string, args ...any)
}

// Keyring is where the package debian-archive-keyring puts Debian's archive
// keys; releases differ in how they end the name.
func Keyring() string {
	const name = "/usr/share/keyrings/debian-archive-keyring"
	if _, err := os.Stat(name + ".pgp"); err == nil {
		return name + ".pgp"
	}
	return name + ".gpg"
}

// listsAge is how old lists may be before they are read anew: fresh enough that
// a testing suite still has their packages, old enough that the sets of one
// build agree about versions.
const listsAge = 6 * time.Hour

func (a *Apt) state() string    { return filepath.Join(a.Cache, a.Suite+"-"+a.Arch) }
func (a *Apt) archives() string { return filepath.Join(a.Cache, "archives") }
func (a *Apt) stamp() string    { return filepath.Join(a.state(), "updated") }

// options point apt at the private state. Proxies and credentials stay those of
// this machine, because its apt.conf is still read.
func (a *Apt) options() []string {
	values := []string{
		"Dir::Etc::sourcelist=" + filepath.Join(a.state(), "sources.list"),
		"Dir::Etc::sourceparts=/dev/null",
		"Dir::Etc::preferences=/dev/null",
		"Dir::Etc::preferencesparts=/dev/null",
		"Dir::State=" + a.state(),
		"Dir::State::status=" + filepath.Join(a.state(), "status"),
		"Dir::Cache=" + filepath.Join(a.state(), "cache"),
		"APT::Sandbox::User=root",
		"APT::Architecture=" + a.Arch,
		"APT::Architectures=" + a.Arch,
		"APT::Get::List-Cleanup=true",
		"Acquire::Languages=none",
		"Acquire::Retries=3",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
	}
	var options []string
	for _, value := range values {
		options = append(options, "-o", value)
	}
	return options
}

func (a *Apt) get(ctx context.Context, dir string, args ...string) (string, error) {
	return runIn(ctx, dir, "apt-get", append(a.options(), args...)...)
}

// Fresh reports whether the lists are young enough to be used as they are.
func (a *Apt) Fresh() bool {
	info, err := os.Stat(a.stamp())
	return err == nil && time.Since(info.ModTime()) < listsAge
}

// Update reads the suite's lists from the first mirror that has them. Lists of
// an earlier time are an answer too: without a network we go on with those.
func (a *Apt) Update(ctx context.Context) error {
	if err := a.prepare(); err != nil {
		return err
	}
	a.Say("reading the package lists of Debian %s for %s", a.Suite, a.Arch)
	var failed []error
	for _, mirror := range a.Mirrors {
		err := a.updateFrom(ctx, mirror)
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	err := errors.Join(failed...)
	if info, statErr := os.Stat(a.stamp()); statErr == nil {
		a.Say("going on with the lists of %s, because they cannot be read anew: %v", info.ModTime().Format(time.DateTime), err)
		return nil
	}
	return fmt.Errorf("reading the lists of Debian %s: %w", a.Suite, err)
}

func (a *Apt) prepare() error {
	if _, err := os.Stat(a.Keyring); err != nil {
		return fmt.Errorf("looking for Debian's archive keys: %w: install the package debian-archive-keyring or name the file with --keyring", err)
	}
	if len(a.Mirrors) == 0 {
		return errors.New("apt's sources on this machine name no Debian archive: add one (sources.list(5)) or name it with --mirror URL")
	}
	for _, dir := range []string{a.archives(), a.state() + "/lists/partial", a.state() + "/cache/archives/partial"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making apt's private state: %w", err)
		}
	}
	return a.write("status", "")
}

func (a *Apt) write(name, text string) error {
	if err := os.WriteFile(filepath.Join(a.state(), name), []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing apt's private state: %w", err)
	}
	return nil
}

// updateFrom makes a network error an error: apt-get update alone ends well
// when it kept old lists.
func (a *Apt) updateFrom(ctx context.Context, mirror string) error {
	line := fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s main\n", a.Arch, a.Keyring, mirror, a.Suite)
	if err := a.write("sources.list", line); err != nil {
		return err
	}
	if _, err := a.get(ctx, "", "-o", "APT::Update::Error-Mode=any", "update"); err != nil {
		return err
	}
	return a.write("updated", strings.TrimSpace(mirror)+"\n")
}
