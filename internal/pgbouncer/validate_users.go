// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PgBouncer takes a password of one of these forms for a hash. Source: get_password_type
// in PgBouncer's scram.c; PostgreSQL's pg_authid.
var (
	scramSecret = regexp.MustCompile(`^SCRAM-SHA-256\$[1-9][0-9]*:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$`)
	md5Hash     = regexp.MustCompile(`^md5[0-9a-f]{32}$`)
)

func validateUsers(users []User) error {
	var errs []error
	seen := map[string]bool{}
	for _, user := range users {
		if user.Name == consoleName {
			errs = append(errs, fmt.Errorf("user name %q is PgBouncer's console", user.Name))
		}
		if seen[user.Name] {
			errs = append(errs, fmt.Errorf("user %q is listed twice", user.Name))
		}
		seen[user.Name] = true
		errs = append(errs,
			validateText("a user's name", user.Name, 1, maxUserName),
			validatePassword(fmt.Sprintf("the password of user %q", user.Name), user.Password))
	}
	return errors.Join(errs...)
}

func validatePassword(what, password string) error {
	switch {
	case md5Hash.MatchString(password):
		return fmt.Errorf("%s is an md5 hash: use the password, or its SCRAM-SHA-256 secret", what)
	case strings.HasPrefix(password, "SCRAM-SHA-256$") && !scramSecret.MatchString(password):
		return fmt.Errorf("%s is no SCRAM-SHA-256 secret as PostgreSQL stores it, though it begins like one", what)
	}
	return validateText(what, password, 1, maxPassword)
}

// validateLookup keeps the two ways apart in which a server connection gets its role:
// one for all clients, or each client's own.
func validateLookup(cfg Config) error {
	l := cfg.Lookup
	if l == (Lookup{}) {
		if cfg.Server.User == "" {
			return errors.New("the server's user must not be empty where clients are not looked up at the server")
		}
		return nil
	}
	var errs []error
	if cfg.Server.User != "" {
		errs = append(errs, errors.New("the server's user must be empty where clients are looked up at the server: each is its own role there"))
	}
	if l.User == consoleName || strings.ContainsAny(l.User, `"`) {
		errs = append(errs, fmt.Errorf("the user that looks clients up must not be named %q: use a role with another name", l.User))
	}
	if slices.ContainsFunc(cfg.Users, func(u User) bool { return u.Name == l.User }) {
		errs = append(errs, fmt.Errorf("user %q looks clients up and can not be one", l.User))
	}
	if scramSecret.MatchString(l.Password) {
		errs = append(errs, errors.New("the password of the user that looks clients up must be in plain text: it logs in at the server"))
	}
	return errors.Join(append(errs,
		validateText("the user that looks clients up", l.User, 1, maxUserName),
		validatePassword("the password of the user that looks clients up", l.Password),
		validateText("the query that looks clients up", l.Query, 1, maxLookup))...)
}
