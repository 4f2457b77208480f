// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package image makes container images out of root file systems and Go
// programs, such that the same inputs give the same digests. It needs neither
// Docker nor a registry, and it may not run anything that it packs.
package image

import "fmt"

// Prefix is the registry part of local references: a name that no registry
// answers to, so that nobody pulls from a stranger what was not loaded.
const Prefix = "localhost/poolfleet/"

// Binary is a Go program in an image.
type Binary struct {
	// Path is where it lies in the image.
	Path string
	// Package is what `go build` builds, as seen from Module.
	Package string
	// Module is the directory of its module, relative to the repository.
	Module string
}

// Definition is what an image consists of and how it starts.
type Definition struct {
	Name        string
	Title       string
	Description string
	// Licenses is an SPDX expression over the programs the image is made for; those
	// of the libraries are in its /usr/share/doc.
	Licenses string
	// Tag is fixed for what others refer to by tag; empty means the build's version.
	Tag string
	// Set is the root file system below; empty means none.
	Set    string
	Binary Binary
	// Script takes the place of Binary.
	Script     Script
	Env        []string
	User       string
	StopSignal string
}

const nonRoot = "65532:65532"

// Definitions are all images, in the order in which they are built. A further
// image of ours is one more entry.
func Definitions() []Definition {
	return []Definition{
		{
			Name: "pause", Title: "Poolfleet pause", Tag: "1", Licenses: "Apache-2.0",
			Description: "Holds the namespaces of a pod on the local cluster and reaps its orphans",
			Binary:      Binary{Path: "/pause", Package: "./cmd/pause", Module: "hack/images"},
			User:        nonRoot,
		},
		{
			Name: "manager", Title: "Poolfleet manager", Licenses: "Apache-2.0",
			Description: "Shares a PostgreSQL server's connections among pools of PgBouncers",
			Set:         "static",
			Binary:      Binary{Path: "/manager", Package: "./cmd/manager", Module: "."},
			User:        nonRoot,
		},
		{
			Name: "pooler", Title: "Poolfleet pooler", Licenses: "Apache-2.0 AND ISC",
			Description: "PgBouncer, supervised, within the connections it was granted",
			Set:         "pgbouncer",
			Binary:      Binary{Path: "/usr/bin/pooler", Package: "./cmd/pooler", Module: "."},
			User:        nonRoot,
		},
		{
			Name: "edge", Title: "Poolfleet edge", Licenses: "Apache-2.0",
			Description: "The gateway by which edge workers reach pools over HTTP and WebSocket",
			Set:         "static",
			Binary:      Binary{Path: "/edge", Package: "./cmd/edge", Module: "."},
			User:        nonRoot,
		},
		{
			Name: "accelerate-legacy", Title: "Poolfleet accelerate-legacy", Licenses: "Apache-2.0 AND MIT",
			Description: "The gateway's sidecar that runs queries for Prisma's clients 5 and 6 without an engine",
			Set:         "nodejs",
			Script: Script{
				Path: "/app", Package: "cmd/accelerate-legacy",
				Only: map[string][]string{"@prisma/client": { // The rest are clients, and the engines of other databases.
					"LICENSE", "package.json", "runtime/query_engine_bg.postgresql.js", "runtime/query_engine_bg.postgresql.wasm-base64.js",
				}},
			},
			Env:  []string{"NODE_ENV=production"},
			User: nonRoot,
		},
		{
			Name: "postgres", Title: "PostgreSQL for Poolfleet's demo and tests", Licenses: "Apache-2.0 AND PostgreSQL",
			Description: "PostgreSQL that initialises itself from POSTGRES_* variables; not for production",
			Set:         "postgres",
			Binary:      Binary{Path: "/usr/bin/postgres-entrypoint", Package: "./cmd/postgres-entrypoint", Module: "hack/images"},
			Env: []string{
				"LANG=C.UTF-8", "PGDATA=/var/lib/postgresql/data", "PGHOST=/var/lib/postgresql/run",
			},
			User:       nonRoot,
			StopSignal: "SIGINT", // PostgreSQL's fast shutdown; SIGTERM would wait for every client.
		},
	}
}

// Select returns the named definitions, or all of them for no name.
func Select(names []string) ([]Definition, error) {
	if len(names) == 0 {
		return Definitions(), nil
	}
	byName, known := map[string]Definition{}, ""
	for _, definition := range Definitions() {
		byName[definition.Name] = definition
		known += " " + definition.Name
	}
	var selected []Definition
	for _, name := range names {
		definition, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("there is no image %q; there are%s", name, known)
		}
		selected = append(selected, definition)
	}
	return selected, nil
}

// Entrypoint is what a container of the image starts with.
func (d Definition) Entrypoint() []string {
	if d.Script.Path != "" {
		return []string{"/usr/bin/node", d.Script.Path + "/main.js"}
	}
	return []string{d.Binary.Path}
}

// Reference is an image's local name with its tag.
func (d Definition) Reference(version string) string {
	return Prefix + d.Name + ":" + d.TagFor(version)
}

// TagFor is the image's tag in a build of that version.
func (d Definition) TagFor(version string) string {
	if d.Tag != "" {
		return d.Tag
	}
	return version
}
