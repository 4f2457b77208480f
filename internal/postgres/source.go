// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultPort is PostgreSQL's.
const DefaultPort = 5432

// Source is a server, a database on it and who to be there, as a Secret says it.
// It is comparable. It prints without the password.
type Source struct {
	// Host is a name or an IP address, without brackets.
	Host     string
	Port     uint16
	User     string
	Password string
	Database string
	// TLSMode is one of PgBouncer's server_tls_sslmode: disable, allow, prefer,
	// require, verify-ca or verify-full. See ParseSecret for its default.
	TLSMode string
	// CA, Certificate and Key are those of TLS, which see.
	CA, Certificate, Key string
	// Parameters is the rest of the URL's query as it was spelled, sslmode included,
	// without a question mark: parameters of drivers and ORMs, which are of no
	// concern to PgBouncer. What only makes sense before a pooler (pgbouncer=true) is left out.
	Parameters string
}

// urlKeys are the keys of a Secret that may hold a URL, first found first taken.
var urlKeys = []string{"DATABASE_URL", "uri", "url", "DIRECT_URL"}

// ParseSecret finds the server in a Secret's data. With a key, the URL stands
// there. Otherwise it stands under DATABASE_URL, uri, url or DIRECT_URL, or it is
// put together from host, port, user or username, password, dbname or database,
// and sslmode. A URL that names a pooler (LooksPooled) gives way to DIRECT_URL.
//
// TLSMode is sslmode, but for a host outside the cluster never weaker than require
// unless sslmode is disable. Without sslmode it is prefer inside the cluster,
// which is a single label, *.svc, *.svc.cluster.local, and private and loopback addresses.
//
// Errors are *Error with the reason KeyMissing or InvalidURL.
// Source: PostgreSQL docs, 32.1.1.2 "Connection URIs".
func ParseSecret(data map[string][]byte, key string) (Source, error) {
	if key != "" {
		text := text(data[key])
		if text == "" {
			return Source{}, &Error{Reason: KeyMissing, Message: "the Secret has no key " + key +
				", or it is empty: put the URL there, or correct spec.upstream.secretRef.key"}
		}
		return parseURL(text)
	}
	for _, name := range urlKeys {
		if text := text(data[name]); text != "" {
			source, err := parseURL(text)
			if err != nil {
				return Source{}, err
			}
			return preferDirect(source, data), nil
		}
	}
	return fromParts(data)
}

// preferDirect returns what DIRECT_URL names if the source names a pooler: by
// Prisma's convention the two lead to the same database.
func preferDirect(source Source, data map[string][]byte) Source {
	if pooled, _ := source.LooksPooled(); !pooled {
		return source
	}
	direct, err := parseURL(text(data["DIRECT_URL"]))
	if err != nil {
		return source
	}
	if pooled, _ := direct.LooksPooled(); pooled {
		return source
	}
	return direct
}

// fromParts puts the source together from single keys.
func fromParts(data map[string][]byte) (Source, error) {
	p := parts{
		host: part(data, "host"), port: part(data, "port"),
		user: part(data, "user", "username"), password: part(data, "password"),
		database: part(data, "dbname", "database"),
	}
	if mode := part(data, "sslmode"); mode != "" {
		p.tls.take("sslmode", mode)
		p.parameters = []string{"sslmode=" + escape(mode)}
	}
	switch {
	case p.host == "":
		return Source{}, &Error{Reason: KeyMissing, Message: "the Secret holds no URL and no host: put a URL under DATABASE_URL, " +
			"or host, user, password and dbname, or name the URL's key in spec.upstream.secretRef.key"}
	case p.user == "":
		return Source{}, &Error{Reason: KeyMissing, Message: "the Secret holds a host but no user: put one under user or username"}
	}
	return p.source()
}

// part returns the first of some keys that holds something.
func part(data map[string][]byte, names ...string) string {
	for _, name := range names {
		if text := text(data[name]); text != "" {
			return text
		}
	}
	return ""
}

// text is a value without the newline that `kubectl create secret --from-file`
// and echo leave at its end.
func text(value []byte) string {
	return strings.TrimRight(string(value), "\r\n")
}

// parts are a source's parts as they were spelled.
type parts struct {
	host, port, user, password, database string
	tls                                  tlsWish
	parameters                           []string
}

// source checks the parts and fills in what they leave open. A missing database
// is the user's name, as for every client of PostgreSQL.
func (p parts) source() (Source, error) {
	host, err := parseHost(p.host)
	if err != nil {
		return Source{}, err
	}
	port, err := parsePort(p.port)
	if err != nil {
		return Source{}, err
	}
	mode, err := p.tls.forHost(host)
	if err != nil {
		return Source{}, err
	}
	s := Source{
		Host: host, Port: port, User: p.user, Password: p.password, Database: p.database,
		TLSMode: mode, Parameters: strings.Join(p.parameters, "&"),
	}
	if s.User == "" {
		return Source{}, invalid("the URL names no user: it must read " + form)
	}
	if s.Database == "" {
		s.Database = s.User
	}
	return s, s.check()
}

// check refuses what the PostgreSQL protocol, PgBouncer's files or JSON could not
// carry as it stands. A zero byte in a user would be another parameter to the server.
func (s Source) check() error {
	for name, value := range map[string]string{"user": s.User, "password": s.Password, "database": s.Database} {
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return invalid("the " + name + " holds a control character, or is not UTF-8: correct the Secret")
		}
	}
	return nil
}

func parsePort(text string) (uint16, error) {
	if text == "" {
		return DefaultPort, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, invalid("the port is no number from 1 to 65535; if the password holds one of : / ? # @ %, " +
			"write it percent-encoded (%3A %2F %3F %23 %40 %25)")
	}
	return uint16(port), nil
}

// Endpoint is the address as host:port, in the one spelling by which addresses
// are compared: lower case, without the dot of an absolute name.
func (s Source) Endpoint() string {
	host := strings.TrimSuffix(strings.ToLower(s.Host), ".")
	return net.JoinHostPort(host, strconv.Itoa(int(s.Port)))
}

// InNamespace returns the source as it reads from outside its namespace: a host
// of a single label is a Service beside the Secret.
func (s Source) InNamespace(namespace string) Source {
	if !strings.ContainsAny(s.Host, ".:") && !strings.EqualFold(s.Host, localhost) {
		s.Host += "." + namespace + ".svc"
	}
	return s
}

// String is RedactedURL, so that no log shows a password.
func (s Source) String() string { return s.RedactedURL() }

// GoString is RedactedURL, so that %#v shows no password.
func (s Source) GoString() string { return s.RedactedURL() }
