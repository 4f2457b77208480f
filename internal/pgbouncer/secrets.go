// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"fmt"
	"slices"
	"strings"
)

// Secrets are the passwords and keys in a configuration, for whoever must keep them
// out of a text. A key is among them line by line, as texts are.
func (c Config) Secrets() []string {
	secrets := []string{c.Server.Password, c.Lookup.Password}
	for _, user := range c.Users {
		secrets = append(secrets, user.Password)
	}
	for _, key := range []string{c.ClientTLS.Key, c.Server.Key} {
		for line := range strings.Lines(key) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				secrets = append(secrets, line)
			}
		}
	}
	slices.Sort(secrets)
	return slices.DeleteFunc(slices.Compact(secrets), func(s string) bool { return s == "" })
}

// String keeps secrets out of whatever prints a configuration.
func (s Server) String() string { return fmt.Sprintf("%s@%s:%d", s.User, s.Host, s.Port) }

// String keeps secrets out of whatever prints a configuration.
func (u User) String() string { return u.Name }

// String keeps secrets out of whatever prints a configuration.
func (l Lookup) String() string { return l.User }

// String keeps secrets out of whatever prints a configuration.
func (t ClientTLS) String() string { return t.Mode }
