// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command postgres-entrypoint initialises a PostgreSQL data directory on its
// first start and then becomes the server. It never changes a data directory
// that is there.
package main

import (
	"fmt"
	"os"
	"syscall"
)

// programs is where the image links PostgreSQL's programs to.
const programs = "/usr/bin"

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres-entrypoint:", err)
		os.Exit(1)
	}
}

// start returns only what kept the server from starting: on success this process is the server.
func start(args []string) error {
	s, err := readSettings(os.Getenv)
	if err != nil {
		return err
	}
	if err := (cluster{settings: s, bin: programs}).initialise(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.sockets, 0o700); err != nil {
		return fmt.Errorf("making the socket directory: %w", err)
	}
	return syscall.Exec(programs+"/postgres", s.arguments(args), withoutPassword(os.Environ()))
}
