// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package apikey knows the keys by which Prisma Accelerate's clients name a pool and log
// in to it. A key carries the pooled credential itself, so that whoever reads one needs
// no Secret; it is worth what a password is. The package logs in nowhere.
package apikey

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength is how long a key is at most, in bytes. It travels in a header, of which
// many proxies take no more than 8 KiB in all.
const MaxLength = 4096

const (
	prefix      = "pf1_"
	lengthBytes = 2
	sumBytes    = 4
)

// What is wrong with a key. Neither error quotes it.
var (
	// ErrForeign is of a text that is no key of ours.
	ErrForeign = errors.New("the API key is none that Poolfleet made: it begins with " + prefix +
		", and stands behind api_key= in ACCELERATE_URL of the pool's Secret")
	// ErrDamaged is of a key that is not as it was made.
	ErrDamaged = errors.New("the API key was cut or changed on its way: " +
		"copy the whole of ACCELERATE_URL from the pool's Secret once more")
)

// encoding is safe in a URL's query, and has one spelling for each value.
var encoding = base64.RawURLEncoding.Strict()

// Key is a pool and what a client logs in with there. Printing one does not show its
// password; String does, for it is the key.
type Key struct {
	// Namespace and Pool are the ConnectionPool's.
	Namespace string
	Pool      string
	// User and Password are what the poolers accept.
	User     string
	Password string `json:"-"`
	// Database is the one that the client gets.
	Database string
}

// fields are the parts of a key in the order they have in it.
func (k *Key) fields() []*string {
	return []*string{&k.Namespace, &k.Pool, &k.User, &k.Password, &k.Database}
}

// String is the key as a client sends it: a prefix that names the format, and base64url
// of the fields, each behind its length, and of the beginning of their SHA-256. That
// tells a key that was cut from one that was revoked; it proves nothing. String is empty
// for a key that Parse would refuse.
func (k Key) String() string {
	var body []byte
	for _, field := range k.fields() {
		body = binary.BigEndian.AppendUint16(body, uint16(min(len(*field), MaxLength)))
		body = append(body, *field...)
	}
	if text := prefix + encoding.EncodeToString(append(body, sum(body)...)); k.valid() && len(text) <= MaxLength {
		return text
	}
	return ""
}

// Parse reads a key. The error is ErrForeign or ErrDamaged. That a key can be read does
// not say that anyone made it: it is as good as its password.
func Parse(text string) (Key, error) {
	if !strings.HasPrefix(text, prefix) {
		return Key{}, ErrForeign
	}
	if len(text) > MaxLength {
		return Key{}, ErrDamaged
	}
	body, err := encoding.DecodeString(text[len(prefix):])
	if err != nil || len(body) < sumBytes {
		return Key{}, ErrDamaged
	}
	body, end := body[:len(body)-sumBytes], body[len(body)-sumBytes:]
	if !bytes.Equal(sum(body), end) {
		return Key{}, ErrDamaged
	}
	// That the key spells itself so leaves no second text for it: caches compare texts.
	if key, whole := split(body); whole && key.String() == text {
		return key, nil
	}
	return Key{}, ErrDamaged
}

// sum is what JavaScript's and a shell's own means can make, too.
func sum(body []byte) []byte {
	digest := sha256.Sum256(body)
	return digest[:sumBytes]
}

// split reads the fields of a body that holds them and nothing else.
func split(body []byte) (key Key, whole bool) {
	for _, field := range key.fields() {
		if len(body) < lengthBytes {
			return Key{}, false
		}
		length := int(binary.BigEndian.Uint16(body))
		if body = body[lengthBytes:]; len(body) < length {
			return Key{}, false
		}
		*field, body = string(body[:length]), body[length:]
	}
	return key, len(body) == 0
}

// valid is whether the key names a pool and a login in text that the PostgreSQL protocol
// can carry: a zero byte in a user would be another parameter to the server. A password
// may be empty where the poolers ask for none.
func (k Key) valid() bool {
	for _, field := range k.fields() {
		if !utf8.ValidString(*field) || strings.ContainsFunc(*field, unicode.IsControl) {
			return false
		}
		if *field == "" && field != &k.Password {
			return false
		}
	}
	return true
}

// Format keeps the password out of whatever prints a key.
func (k Key) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.redacted()) }

// MarshalLog keeps the password out of logs.
func (k Key) MarshalLog() any { return k.redacted() }

func (k Key) redacted() string {
	return fmt.Sprintf("%s@%s/%s/%s", k.User, k.Namespace, k.Pool, k.Database)
}
