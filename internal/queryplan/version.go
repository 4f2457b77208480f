// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is a client's, as far as plans depend on it.
type Version struct{ Major, Minor int }

// ParseVersion reads a client's version, such as 7.10.1 or 6.19.0-dev.3.
func ParseVersion(text string) (Version, error) {
	major, rest, ok := strings.Cut(text, ".")
	minor, _, patched := strings.Cut(rest, ".")
	if !ok || !patched {
		return Version{}, fmt.Errorf("reading the client's version: %.40q is not of the form 7.10.0", text)
	}
	var version Version
	for number, part := range map[*int]string{&version.Major: major, &version.Minor: minor} {
		value, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("reading the client's version: %.40q is not of the form 7.10.0", text)
		}
		*number = int(value)
	}
	return version, nil
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Supported lists the versions whose plans this package runs, oldest first: those that
// an official executor of the same minor, or of the one beside it, was compared with.
func Supported() []Version { return slices.Clone(supported) }

var supported = slices.Concat(minors(6, 16, 19), minors(7, 0, 10))

func minors(major, first, last int) (all []Version) {
	for minor := first; minor <= last; minor++ {
		all = append(all, Version{Major: major, Minor: minor})
	}
	return all
}

// Supported tells whether this package runs the version's plans.
func (v Version) Supported() bool { return slices.Contains(supported, v) }
