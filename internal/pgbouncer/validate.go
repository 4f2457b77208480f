// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// consoleName is the database and the user of PgBouncer's own console.
const consoleName = "pgbouncer"

// Lengths that PgBouncer holds, without the terminating zero. Source: MAX_DBNAME,
// MAX_USERNAME and MAX_PASSWORD in PgBouncer's bouncer.h.
const (
	maxDatabaseName = 63
	maxUserName     = 127
	maxPassword     = 2047
)

// maxQuery is the longest query, in bytes, that PgBouncer can send by itself: it
// makes the message in a buffer of 512. A longer connect_query is never sent, and
// the pool never gets a server connection. Source: SEND_generic in PgBouncer's pktbuf.h.
const maxQuery = 506

// maxLookup bounds auth_query, in bytes.
const maxLookup = 1024

var (
	tlsModes  = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	poolModes = []PoolMode{ModeSession, ModeTransaction, ModeStatement}
)

// Validate says what PgBouncer could not run, or what would break the connection
// budget. All that is wrong is in the one error; its words hold no password.
func Validate(cfg Config) error {
	return errors.Join(
		validateServer(cfg.Server),
		validateDatabases(cfg.Databases),
		validateUsers(cfg.Users),
		validateLookup(cfg),
		validateClientTLS(cfg.ClientTLS),
		validateServerTLS(cfg.Server),
		validateGlobals(cfg),
		validateParameters(cfg.Parameters),
	)
}

func validateServer(s Server) error {
	var errs []error
	if s.Host == "" || strings.ContainsAny(s.Host, ", \t") {
		errs = append(errs, errors.New("the server's host must be one host name or address"))
	}
	if s.Port == 0 {
		errs = append(errs, errors.New("the server's port must not be 0"))
	}
	if !slices.Contains(tlsModes, s.TLSMode) {
		errs = append(errs, fmt.Errorf("the server's TLS mode %q is none of %s", s.TLSMode, strings.Join(tlsModes, ", ")))
	}
	return errors.Join(append(errs,
		validateText("the server's host", s.Host, 1, 255),
		validateText("the server's user", s.User, 0, maxUserName),
		validateText("the server's password", s.Password, 0, maxPassword))...)
}

func validateDatabases(databases []Database) error {
	if len(databases) == 0 {
		return errors.New("there must be at least one database")
	}
	var errs []error
	seen := map[string]bool{}
	for _, db := range databases {
		if err := validateDatabaseName(db.Name); err != nil {
			errs = append(errs, err)
		}
		if seen[db.Name] {
			errs = append(errs, fmt.Errorf("database %q is listed twice", db.Name))
		}
		seen[db.Name] = true
		errs = append(errs, validateText(fmt.Sprintf("the server's name of database %q", db.Name), db.Database, 1, maxDatabaseName))
	}
	return errors.Join(errs...)
}

// validateDatabaseName holds what PgBouncer's configuration file can spell as a key.
func validateDatabaseName(name string) error {
	isKey := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r)
	}
	switch {
	case name == consoleName:
		return fmt.Errorf("database name %q is PgBouncer's console: give the database another name for clients", name)
	case name == "" || len(name) > maxDatabaseName:
		return fmt.Errorf("database name %q must have 1 to %d characters", name, maxDatabaseName)
	case strings.ContainsFunc(name, func(r rune) bool { return !isKey(r) }):
		return fmt.Errorf("database name %q must consist of letters, digits, '_', '.' and '-': give the database such a name for clients", name)
	}
	return nil
}

func validateGlobals(cfg Config) error {
	var errs []error
	if !slices.Contains(poolModes, cfg.Mode) {
		errs = append(errs, fmt.Errorf("the mode %q is none of session, transaction, statement", cfg.Mode))
	}
	if cfg.MaxClientConnections < 1 {
		errs = append(errs, fmt.Errorf("the client connections of a pooler must be at least 1, not %d", cfg.MaxClientConnections))
	}
	if cfg.ClientIdleTimeoutSeconds < 0 {
		errs = append(errs, fmt.Errorf("the idle timeout of clients must not be negative, it is %d s", cfg.ClientIdleTimeoutSeconds))
	}
	return errors.Join(append(errs, validateText("the connect query", cfg.ConnectQuery, 0, maxQuery))...)
}

// validateText refuses what would end a line of PgBouncer's files, or its strings.
// It does not quote the text, which may be a password.
func validateText(what, text string, shortest, longest int) error {
	if len(text) < shortest || len(text) > longest {
		return fmt.Errorf("%s must have %d to %d bytes, it has %d", what, shortest, longest, len(text))
	}
	if strings.ContainsAny(text, "\n\r\x00") {
		return fmt.Errorf("%s must not hold a line break or a zero byte", what)
	}
	return nil
}
