// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/url"
	"strconv"
	"strings"
)

// url spells the server as libpq does. Beside sslmode it has no parameter: what
// one driver asks for in the query string another refuses.
// Source: PostgreSQL documentation, section libpq, Connection URIs.
func (s Server) url() string {
	text := "postgresql://" + s.userinfo() + s.address() + "/" + escape(s.Database)
	if s.SSLMode != "" {
		text += "?sslmode=" + escape(s.SSLMode)
	}
	return text
}

// jdbcURL spells the server as pgjdbc does. It needs no prepareThreshold=0:
// PgBouncer keeps prepared statements apart since 1.21 (max_prepared_statements).
func (s Server) jdbcURL() string {
	text, separator := "jdbc:postgresql://"+s.address()+"/"+escape(s.Database), "?"
	if s.User != "" {
		text += "?user=" + escape(s.User) + "&password=" + escape(s.Password)
		separator = "&"
	}
	if s.SSLMode != "" {
		text += separator + "sslmode=" + escape(s.SSLMode)
	}
	return text
}

func (s Server) withoutPassword() Server {
	s.Password = ""
	return s
}

func (s Server) userinfo() string {
	switch {
	case s.User == "":
		return ""
	case s.Password == "":
		return escape(s.User) + "@"
	default:
		return escape(s.User) + ":" + escape(s.Password) + "@"
	}
}

func (s Server) address() string {
	host := escape(s.Host)
	if strings.Contains(s.Host, ":") {
		host = "[" + strings.ReplaceAll(s.Host, "%", "%25") + "]" // An IPv6 address, perhaps with its zone.
	}
	if s.Port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(s.Port))
}

// escape leaves only letters, digits and -._~ as they are. net/url's own choice for
// users and paths leaves more, such as +, which drivers do not read alike.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
