// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package rootfs turns sets of Debian packages into root file systems. It may
// not run anything out of a root it makes, and it replaces only what it made.
package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/hack/images/internal/debian"
)

// format counts changes of how a root is made that its set does not show.
const format = 2

// stampFile lies in every root we made; images leave it out.
const stampFile = ".rootfs.json"

// Stamp says what a root is made of.
type Stamp struct {
	// Definition is a digest over the set, the suite, the architecture and how we make roots.
	Definition string           `json:"definition"`
	Packages   []debian.Package `json:"packages"`
}

// Archive is where packages come from; debian.Apt is one.
type Archive interface {
	// Update asks for newer package lists.
	Update(ctx context.Context) error
	// Fetch brings the named packages and the dependencies that follow accepts.
	Fetch(ctx context.Context, names []string, follow func(string) bool) ([]debian.Package, error)
}

// Maker makes the roots of one suite and architecture.
type Maker struct {
	Archive Archive
	Suite   string
	Arch    string
	// Cache is the folder that runs at the same time share; its lock is theirs.
	Cache string
	// Refresh asks Debian for newer packages even where a root is there.
	Refresh bool
	Say     func(format string, args ...any)
}

func (m *Maker) definition(set Set) (string, error) {
	text, err := json.Marshal([]any{format, m.Suite, m.Arch, set, dropped, switches})
	if err != nil {
		return "", fmt.Errorf("describing set %s: %w", set.Name, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Make brings the root of a set to dir and returns what it is made of. Where it
// already is there, nothing is done and nothing is asked of the network.
// Runs at the same time wait for one another.
func (m *Maker) Make(ctx context.Context, set Set, dir string) (Stamp, error) {
	definition, err := m.definition(set)
	if err != nil {
		return Stamp{}, err
	}
	if stamp, ok := readStamp(dir); ok && stamp.Definition == definition && !m.Refresh {
		m.Say("%s: %s is up to date (%d packages)", set.Name, dir, len(stamp.Packages))
		return stamp, nil
	}
	unlock, err := lock(ctx, m.Cache, m.Say)
	if err != nil {
		return Stamp{}, err
	}
	defer unlock()
	if stamp, ok := readStamp(dir); ok && stamp.Definition == definition && !m.Refresh {
		m.Say("%s: %s was made by another run meanwhile", set.Name, dir)
		return stamp, nil
	}
	packages, err := m.Packages(ctx, set)
	if err != nil {
		return Stamp{}, fmt.Errorf("fetching the set %s: %w", set.Name, err)
	}
	return m.replace(ctx, set, dir, Stamp{Definition: definition, Packages: packages})
}

// Packages fetches a set's packages and holds them against the set's floors.
func (m *Maker) Packages(ctx context.Context, set Set) ([]debian.Package, error) {
	if m.Refresh {
		if err := m.Archive.Update(ctx); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, program := range set.Programs {
		names = append(names, program.Package)
	}
	follow, avoid := regexp.MustCompile(set.Follow), regexp.MustCompile(set.Avoid)
	packages, err := m.Archive.Fetch(ctx, names, func(name string) bool {
		return follow.MatchString(name) && !avoid.MatchString(name)
	})
	if err != nil {
		return nil, err
	}
	return packages, checkFloors(ctx, m.Suite, set.Programs, packages)
}

func checkFloors(ctx context.Context, suite string, programs []Program, packages []debian.Package) error {
	for _, program := range programs {
		i := slices.IndexFunc(packages, func(pkg debian.Package) bool { return pkg.Name == program.Package })
		if i < 0 {
			return fmt.Errorf("package %s is not in Debian %s", program.Package, suite)
		}
		if program.Floor == "" {
			continue
		}
		ok, err := debian.AtLeast(ctx, packages[i].Version, program.Floor)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("package %s: Debian %s has %s, at least %s is needed", program.Package, suite, packages[i].Version, program.Floor)
		}
	}
	return nil
}

// replace makes the root beside dir and puts it in place only when it is whole.
func (m *Maker) replace(ctx context.Context, set Set, dir string, stamp Stamp) (Stamp, error) {
	if old, ok := readStamp(dir); ok && old.Definition == stamp.Definition && slices.EqualFunc(old.Packages, stamp.Packages, samePackage) {
		m.Say("%s: Debian has nothing newer", set.Name)
		return old, nil
	}
	if err := mayReplace(dir); err != nil {
		return Stamp{}, err
	}
	started, fresh := time.Now(), dir+".new"
	if err := os.RemoveAll(fresh); err != nil {
		return Stamp{}, fmt.Errorf("clearing away an unfinished root: %w", err)
	}
	if err := m.build(ctx, set, fresh, stamp); err != nil {
		return Stamp{}, fmt.Errorf("making the root %s: %w", set.Name, err)
	}
	if err := swap(fresh, dir); err != nil {
		return Stamp{}, fmt.Errorf("putting %s in place: %w", dir, err)
	}
	m.Say("%s: unpacked %d packages to %s in %.1f s", set.Name, len(stamp.Packages), dir, time.Since(started).Seconds())
	return stamp, nil
}

func samePackage(a, b debian.Package) bool { return a.Name == b.Name && a.SHA256 == b.SHA256 }

func (m *Maker) build(ctx context.Context, set Set, dir string, stamp Stamp) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unpackAll(ctx, root, set, stamp.Packages); err != nil {
		return err
	}
	if err := configure(ctx, root, set, stamp.Packages); err != nil {
		return err
	}
	if err := CheckLibraries(root, m.Arch); err != nil {
		return err
	}
	if set.Devices && os.Geteuid() == 0 {
		if err := makeDevices(filepath.Join(dir, "dev")); err != nil {
			return err
		}
	}
	return writeStamp(dir, stamp)
}
