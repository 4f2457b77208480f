// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// form is the URL we ask for.
const form = "postgresql://user:password@host:5432/database"

// invalid is an error without a cause: causes quote what they could not read.
func invalid(message string) *Error {
	return &Error{Reason: InvalidURL, Message: message}
}

// parseURL reads a URL as libpq does, but for the userinfo, which reaches to the
// last @ before the path: that is what people mean who forget to encode one.
// net/url refuses passwords that libpq takes, such as those with a caret.
func parseURL(text string) (Source, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return Source{}, invalid("the URL holds white space: write it percent-encoded (%20), and put one URL only")
	}
	rest, err := afterScheme(text)
	if err != nil {
		return Source{}, err
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, database, _ := strings.Cut(rest, "/")
	var p parts
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		p.user, p.password, _ = strings.Cut(authority[:at], ":")
		authority = authority[at+1:]
	}
	if p.host, p.port, err = splitHost(authority); err != nil {
		return Source{}, err
	}
	p.database = database
	for _, field := range []*string{&p.host, &p.user, &p.password, &p.database} {
		if *field, err = unescape(*field); err != nil {
			return Source{}, err
		}
	}
	if err := p.readQuery(query); err != nil {
		return Source{}, err
	}
	return p.source()
}

func afterScheme(text string) (string, error) {
	scheme, rest, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case found && (scheme == "postgresql" || scheme == "postgres"):
		return rest, nil
	case strings.HasPrefix(scheme, "jdbc:"):
		return "", invalid("a JDBC URL does not say who connects in a way others can read: write " + form)
	case strings.HasPrefix(scheme, "postgres") && strings.Contains(scheme, "+"):
		return "", invalid("the URL's scheme names a driver: write postgresql:// alone")
	case strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'"):
		return "", invalid("the URL stands in quotes: write it without them")
	case found:
		return "", invalid("the URL is not one of PostgreSQL: it must start with postgresql:// or postgres://")
	}
	return "", invalid("the value is no URL: it must read " + form)
}

// splitHost splits host and port, both still percent-encoded.
func splitHost(authority string) (host, port string, err error) {
	if inner, ok := strings.CutPrefix(authority, "["); ok {
		host, rest, closed := strings.Cut(inner, "]")
		port, colon := strings.CutPrefix(rest, ":")
		if strings.Contains(rest, ",") {
			return "", "", severalHosts()
		}
		if !closed || (rest != "" && !colon) {
			return "", "", invalid("the host is no IPv6 address in brackets, such as [2001:db8::1]:5432")
		}
		return host, port, nil
	}
	if strings.Contains(authority, ",") {
		return "", "", severalHosts()
	}
	host, port, _ = strings.Cut(authority, ":")
	return host, port, nil
}

// readQuery takes from the query what PgBouncer must know, and keeps the rest as
// it is. Parts of the address may stand in the query, too, and win there.
func (p *parts) readQuery(query string) error {
	for segment := range strings.SplitSeq(query, "&") {
		rawName, rawValue, _ := strings.Cut(segment, "=")
		name, err := unescape(rawName)
		if err != nil {
			return err
		}
		value, err := unescape(rawValue)
		if err != nil {
			return err
		}
		if segment != "" && !p.take(name, value) {
			p.parameters = append(p.parameters, segment)
		}
	}
	return nil
}

// take reports whether the parameter is told by another field from now on.
func (p *parts) take(name, value string) bool {
	fields := map[string]*string{"host": &p.host, "port": &p.port, "user": &p.user, "password": &p.password, "dbname": &p.database}
	if field, ok := fields[name]; ok {
		if value != "" {
			*field = value
		}
		return true
	}
	p.tls.take(name, value)
	return name == "pgbouncer"
}

// unescape decodes percent-encoding. A plus sign is one: libpq reads it so.
func unescape(text string) (string, error) {
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return "", invalid("the URL holds a % that encodes nothing: write a % of the password as %25")
	}
	return decoded, nil
}

// escape encodes all but the unreserved characters of RFC 3986, so that a value
// reads the same to every URL parser, wherever it stands.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// URL is the address of the server itself, password included, with the parameters
// that the Secret's URL had. It is for Secrets only.
func (s Source) URL() string {
	userinfo := escape(s.User)
	if s.Password != "" {
		userinfo += ":" + escape(s.Password)
	}
	return s.url(userinfo, s.Parameters)
}

// harmless are the parameters that are no secret to whoever may see a status.
var harmless = map[string]bool{"sslmode": true, "schema": true, "channel_binding": true}

// RedactedURL is URL without the password, and without parameters that might hold
// a secret.
func (s Source) RedactedURL() string {
	var kept []string
	for segment := range strings.SplitSeq(s.Parameters, "&") {
		if name, _, _ := strings.Cut(segment, "="); harmless[name] {
			kept = append(kept, segment)
		}
	}
	return s.url(escape(s.User), strings.Join(kept, "&"))
}

// AnonymousURL is RedactedURL without a user, for those who each have their own.
func (s Source) AnonymousURL() string {
	anonymous := s
	anonymous.User = ""
	return anonymous.RedactedURL()
}

func (s Source) url(userinfo, parameters string) string {
	if userinfo != "" {
		userinfo += "@"
	}
	result := "postgresql://" + userinfo + net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) + "/" + escape(s.Database)
	if parameters != "" {
		result += "?" + parameters
	}
	return result
}

// Parameter returns the decoded value of one of Parameters, empty without it.
func (s Source) Parameter(name string) string {
	for segment := range strings.SplitSeq(s.Parameters, "&") {
		rawName, rawValue, _ := strings.Cut(segment, "=")
		if decoded, err := url.PathUnescape(rawName); err != nil || decoded != name {
			continue
		}
		if value, err := url.PathUnescape(rawValue); err == nil {
			return value
		}
	}
	return ""
}
