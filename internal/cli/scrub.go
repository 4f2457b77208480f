// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/poolfleet/poolfleet/internal/postgres"
)

// scrubbed stands where something secret stood.
const scrubbed = "[scrubbed]"

// openKeys are the keys of Secrets whose values are no secret: names and addresses, and
// certificates. Text without them could not be read. Everything under other keys is secret.
var openKeys = regexp.MustCompile(`(?i)^(.*-)?(host|port|database|dbname|user|username|type|provider|sslmode|namespace)$` +
	`|\.crt$|^wrangler\.toml$|^schema\.prisma$|^prisma\.config\.ts$`)

// secretFields are the names of fields in the documents of Secrets, and of parameters,
// whose values are secret; secretValues are those of the chart's values, where a key is
// mostly a label's.
var (
	secretFields = regexp.MustCompile(`(?i)password|secret|key|token|credential`)
	secretValues = regexp.MustCompile(`(?i)password|secret|api_?key|token|credential`)
)

// shapes are what is secret by its look alone, whatever it holds.
var shapes = []struct {
	shape *regexp.Regexp
	to    string
}{
	// A password may hold an @ or a / that nobody has encoded.
	{regexp.MustCompile(`(?i)\b((?:jdbc:)?postgres(?:ql)?(?:\+\w+)?)://[^\s"'<>]*@`), "$1://" + scrubbed + "@"},
	{regexp.MustCompile(`(?i)\b(password|passwd|pgpassword|api_key)(=|"\s*:\s*")[^\s"'&,;]+`), "$1$2" + scrubbed},
	{regexp.MustCompile(`SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+`), scrubbed},
	{regexp.MustCompile(`\bpf1_[A-Za-z0-9_-]+`), scrubbed},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`), scrubbed},
}

// scrubber takes known secrets, and what looks like one, out of text.
type scrubber struct {
	words []string
}

// learn makes the secrets of a Secret known.
func (s *scrubber) learn(data map[string][]byte) {
	for key, value := range data {
		if openKeys.MatchString(key) {
			continue
		}
		text := strings.TrimRight(string(value), "\r\n")
		s.add(text)
		s.inURL(text)
		for line := range strings.Lines(text) { // Of a key in PEM, or a file of settings.
			if line = strings.TrimSpace(line); len(line) >= 24 && !strings.HasPrefix(line, "-----") {
				s.add(line)
			}
		}
		var document any
		if json.Unmarshal(value, &document) == nil {
			s.inDocument(document, secretFields, false)
		}
	}
}

// inURL finds the password in a URL, as it is spelled and as it is meant.
func (s *scrubber) inURL(text string) {
	if source, err := postgres.ParseSecret(map[string][]byte{"url": []byte(text)}, "url"); err == nil {
		s.add(source.Password)
	}
	_, rest, found := strings.Cut(text, "://")
	if !found {
		return
	}
	userinfo, _, found := strings.Cut(rest, "@")
	if _, password, ok := strings.Cut(userinfo, ":"); found && ok {
		s.add(password)
	}
	_, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return
	}
	for name, all := range values {
		for _, value := range all {
			if secretFields.MatchString(name) {
				s.add(value)
			}
		}
	}
}

// inDocument finds the strings of fields with such names.
func (s *scrubber) inDocument(value any, names *regexp.Regexp, secret bool) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			s.inDocument(field, names, names.MatchString(name))
		}
	case []any:
		for _, item := range value {
			s.inDocument(item, names, secret)
		}
	case string:
		if secret {
			s.add(value)
		}
	}
}

// add makes a secret known in all the forms that it is written in.
func (s *scrubber) add(secret string) {
	if secret == "" {
		return
	}
	for _, form := range forms(secret) {
		if !slices.Contains(s.words, form) {
			s.words = append(s.words, form)
		}
	}
}

// forms are how a secret is spelled: as it is, percent-encoded by the rules of each part
// of a URL, as a string of JSON, and in base64, also as a part of something longer.
func forms(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		quoted = []byte(`""`) // Strings always encode.
	}
	all := []string{secret, strings.Trim(string(quoted), `"`)}
	for _, form := range []string{
		url.QueryEscape(secret), strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"), url.PathEscape(secret),
		strings.TrimPrefix(url.UserPassword("", secret).String(), ":"), everyByte(secret),
	} {
		all = append(all, form, lowerHex(form))
	}
	for offset := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if form := within(encoding, secret, offset); len(form) >= 4 {
				all = append(all, form)
			}
		}
	}
	return all
}

// everyByte is percent-encoding of all that is no letter and no digit.
func everyByte(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

func lowerHex(text string) string { return percent.ReplaceAllStringFunc(text, strings.ToLower) }

// within is what base64 makes of a text that stands offset bytes (modulo 3) into another
// one: without the first and last digits, which depend on the neighbours.
func within(encoding *base64.Encoding, text string, offset int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("x", offset) + text))
	start := (offset*8 + 5) / 6
	end := (offset + len(text)) * 8 / 6
	if start >= end {
		return ""
	}
	return encoded[start:end]
}

// finish puts longer words first, so that a secret within another leaves nothing of it.
func (s *scrubber) finish() {
	slices.SortFunc(s.words, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
}

// scrub takes out what is secret.
func (s *scrubber) scrub(text string) string {
	for _, look := range shapes {
		text = look.shape.ReplaceAllString(text, look.to)
	}
	for _, word := range s.words {
		text = strings.ReplaceAll(text, word, scrubbed)
	}
	return text
}
