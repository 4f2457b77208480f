// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"encoding/base32"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

const (
	// firstUsername is the first credential's: it says nothing, and it means nothing to
	// the server. Later ones have a suffix: PgBouncer knows one password for each name,
	// and two credentials have to work at once.
	firstUsername = "app"
	// suffixBytes are 8 letters and digits.
	suffixBytes = 5
	// passwordBytes is 160 bits; base32 spells them in 32 letters and digits without padding.
	passwordBytes = 20
)

// Origin says whose a credential is.
type Origin string

const (
	// OriginGenerated is made for the pool, and worth nothing at the server.
	OriginGenerated Origin = "Generated"
	// OriginServer is the server's own, as the upstream Secret has it.
	OriginServer Origin = "Server"
)

// Login is a user and a password.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Credential is what clients may log in with.
type Credential struct {
	Login

	Origin Origin `json:"origin"`
	// Secret is the password's SCRAM-SHA-256 secret, with a salt that stays.
	Secret string `json:"secret"`
	// IssuedAt is when it was made.
	IssuedAt time.Time `json:"issuedAt"`
	// PublishedAt is when it was fit for applications: every pooler knew it. Zero before.
	PublishedAt time.Time `json:"publishedAt,omitzero"`
	// ReplacedAt is when applications could read a newer one. Zero before.
	ReplacedAt time.Time `json:"replacedAt,omitzero"`
}

// What generate makes.
var (
	usernameForm = regexp.MustCompile(`^app(-[a-z2-7]{8})?$`)
	passwordForm = regexp.MustCompile(`^[A-Z2-7]{32}$`)
)

// generated reports whether a login looks like one made for a pool: nobody chose it.
func (l Login) generated() bool {
	return usernameForm.MatchString(l.Username) && passwordForm.MatchString(l.Password)
}

// generate makes a login of letters and digits, which need no escaping anywhere.
func generate(first bool, random io.Reader) (Login, error) {
	secret := make([]byte, passwordBytes+suffixBytes)
	if _, err := io.ReadFull(random, secret); err != nil {
		return Login{}, fmt.Errorf("generating a password: %w", err)
	}
	login := Login{Username: firstUsername, Password: base32.StdEncoding.EncodeToString(secret[:passwordBytes])}
	if !first {
		login.Username += "-" + strings.ToLower(base32.StdEncoding.EncodeToString(secret[passwordBytes:]))
	}
	return login, nil
}

// issue makes a credential of a login. It fails when random does.
func issue(login Login, origin Origin, now time.Time, random io.Reader) (Credential, error) {
	secret, err := scramSecret(login.Password, random)
	if err != nil {
		return Credential{}, err
	}
	return Credential{Login: login, Origin: origin, Secret: secret, IssuedAt: now}, nil
}

// EndsAt is when a credential stops working; zero while it is not replaced.
func (c Credential) EndsAt(w Wish) time.Time {
	if c.ReplacedAt.IsZero() {
		return time.Time{}
	}
	return c.ReplacedAt.Add(w.Overlap)
}

// sooner is the earlier of two times, of which zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
