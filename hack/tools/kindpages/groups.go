// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"
)

// conditionTypes is how the title of a group of condition types begins.
const conditionTypes = "Condition types"

// groupsOf are the conditions and reasons of a kind: groups whose title names the kind or
// one of its conditions, and those that name no kind at all, such as reasons of events.
func (s source) groupsOf(kind string) []group {
	owners := map[string]string{}
	for name := range s.structs {
		if s.isKind(name) {
			owners[name] = name
		}
	}
	for _, g := range s.groups {
		if strings.HasPrefix(g.title, conditionTypes) {
			for _, c := range g.constants {
				owners[c.value] = ownerOf(g.title, owners)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.groups), func(g group) bool {
		owner := ownerOf(g.title, owners)
		return owner != "" && owner != kind
	})
}

// isKind tells kinds from other structs: they alone have metadata, spec and status.
func (s source) isKind(name string) bool {
	has := func(field string) bool {
		return slices.ContainsFunc(s.structs[name], func(m member) bool { return m.name == field })
	}
	return has("metadata") && has("spec") && has("status")
}

var word = regexp.MustCompile(`[A-Za-z]+`)

func ownerOf(title string, owners map[string]string) string {
	for _, w := range word.FindAllString(title, -1) {
		if owner, ok := owners[w]; ok {
			return owner
		}
	}
	return ""
}
