// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

const (
	// scramIterations and scramSaltBytes are PostgreSQL's own defaults.
	// Source: PostgreSQL's scram-common.h.
	scramIterations = 4096
	scramSaltBytes  = 16

	scramPrefix = "SCRAM-SHA-256$"
)

// scramSecret is what a server stores of a password: enough to check it, not to
// know it. It fails when random does.
// Source: RFC 5803; PostgreSQL documentation, section pg_authid.
func scramSecret(password string, random io.Reader) (string, error) {
	salt := make([]byte, scramSaltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("generating a salt: %w", err)
	}
	return scramOf(password, salt, scramIterations)
}

func scramOf(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, prepared(password), salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, iterations, text(salt), text(stored[:]), text(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// prepared is the password as clients and servers hash it: prepared with SASLprep,
// or as it is where that refuses it.
// Source: PostgreSQL's pg_saslprep.
func prepared(password string) string {
	// RFC 4013 has two words on U+200B; PostgreSQL makes it a space, the library nothing.
	text := strings.ReplaceAll(password, "\u200b", " ")
	if text, err := stringprep.SASLprep.Prepare(text); err == nil {
		return text
	}
	return password
}

// verifies reports whether a secret was made of the password.
func verifies(secret, password string) bool {
	iterations, salt, ok := scramParts(secret)
	if !ok {
		return false
	}
	again, err := scramOf(password, salt, iterations)
	return err == nil && hmac.Equal([]byte(again), []byte(secret))
}

// scramParts reads how a secret was made. Iterations beyond reason are refused: they
// would be worked off.
func scramParts(secret string) (iterations int, salt []byte, ok bool) {
	rest, isSCRAM := strings.CutPrefix(secret, scramPrefix)
	made, keys, _ := strings.Cut(rest, "$")
	count, salted, _ := strings.Cut(made, ":")
	iterations, err := strconv.Atoi(count)
	if !isSCRAM || keys == "" || err != nil || iterations < 1 || iterations > 1_000_000 {
		return 0, nil, false
	}
	salt, err = base64.StdEncoding.DecodeString(salted)
	return iterations, salt, err == nil
}
