// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"encoding/base32"
	"fmt"
	"io"
)

const (
	// username is the same for every pool: it says nothing, and it means nothing to the server.
	username = "app"
	// passwordBytes is 160 bits; base32 spells them in 32 letters and digits without padding.
	passwordBytes = 20
)

// Credential is what the poolers accept from applications. It is worth nothing at
// the server.
type Credential struct {
	Username string
	Password string
}

// NewCredential makes a credential from random, which must be fit for secrets. Its
// password has only letters and digits, so it needs no escaping anywhere. It fails
// when random does.
func NewCredential(random io.Reader) (Credential, error) {
	secret := make([]byte, passwordBytes)
	if _, err := io.ReadFull(random, secret); err != nil {
		return Credential{}, fmt.Errorf("generating a password: %w", err)
	}
	return Credential{Username: username, Password: base32.StdEncoding.EncodeToString(secret)}, nil
}
