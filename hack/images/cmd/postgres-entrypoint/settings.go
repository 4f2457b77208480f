// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
)

// settings are what the environment says, under the names that PostgreSQL's
// well-known container image made common.
type settings struct {
	data, password, user, database string
	// sockets is the directory of the Unix socket.
	sockets string
}

// readSettings reads PGDATA, PGHOST and POSTGRES_{USER,DB,PASSWORD,PASSWORD_FILE}.
func readSettings(getenv func(string) string) (settings, error) {
	s := settings{
		data:     getenv("PGDATA"),
		sockets:  getenv("PGHOST"),
		password: getenv("POSTGRES_PASSWORD"),
		user:     cmp.Or(getenv("POSTGRES_USER"), "postgres"),
	}
	s.database = cmp.Or(getenv("POSTGRES_DB"), s.user)
	if s.data == "" || s.sockets == "" {
		return s, errors.New("reading the environment: set PGDATA to the data directory and PGHOST to the socket directory")
	}
	if file := getenv("POSTGRES_PASSWORD_FILE"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("reading POSTGRES_PASSWORD_FILE: %w", err)
		}
		s.password = strings.TrimRight(string(text), "\r\n")
	}
	if strings.ContainsAny(s.user+s.database+s.password, "\r\n\x00") {
		return s, errors.New("reading the environment: user, database and password are one line each")
	}
	return s, nil
}

// arguments are the server's: ours come first, so that the caller's win.
func (s settings) arguments(given []string) []string {
	ours := []string{"postgres", "-D", s.data, "-c", "listen_addresses=*", "-c", "unix_socket_directories=" + s.sockets}
	return append(ours, given...)
}

// withoutPassword is the server's environment: every backend and everything it
// starts inherits it.
func withoutPassword(environ []string) []string {
	var kept []string
	for _, variable := range environ {
		if !strings.HasPrefix(variable, "POSTGRES_PASSWORD") {
			kept = append(kept, variable)
		}
	}
	return kept
}
