// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"net/url"
	"strings"
)

// connectionStringHeader carries the client's URL, and with it the password.
const connectionStringHeader = "Neon-Connection-String"

// connectionStringBytes bounds the URL: a startup packet has to fit a buffer of
// PgBouncer's (pkt_buf, 4096 bytes by default).
const connectionStringBytes = 4096

// readConnectionString returns the host that a request names and what it logs in with.
// The error is a *Refusal, in which nothing of the URL is repeated: errors of url.Parse
// quote what they parse.
func readConnectionString(header http.Header) (host string, login Login, err error) {
	values := header.Values(connectionStringHeader)
	switch {
	case len(values) == 0 || values[0] == "":
		return "", Login{}, badConnectionString("there is no " + connectionStringHeader + " header")
	case len(values) > 1:
		return "", Login{}, badConnectionString("there is more than one " + connectionStringHeader + " header")
	case len(values[0]) > connectionStringBytes:
		return "", Login{}, badConnectionString("the connection string is too long")
	}
	return parseConnectionString(values[0], header.Get("Authorization") != "")
}

func parseConnectionString(text string, token bool) (host string, login Login, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", Login{}, badConnectionString("the connection string is not a URL that begins with postgresql://")
	}
	segment, _, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	login.Database, err = url.PathUnescape(segment)
	if err != nil {
		return "", Login{}, badConnectionString("the connection string's database is not percent-encoded")
	}
	login.User = u.User.Username()
	login.Password, _ = u.User.Password()
	application := u.Query().Get("application_name")
	if strings.ContainsRune(login.User+login.Password+login.Database+application, 0) {
		return "", Login{}, badConnectionString("the connection string has a zero byte") // It would end a name in the startup packet.
	}
	if missing := missingPart(u.Host, login, token); missing != "" {
		return "", Login{}, badConnectionString(missing)
	}
	// JSON is UTF-8, whatever the database's own encoding.
	login.Parameters = map[string]string{"client_encoding": "UTF8"}
	if application != "" {
		login.Parameters["application_name"] = application
	}
	return u.Host, login, nil
}

func missingPart(host string, login Login, token bool) string {
	switch {
	case host == "":
		return "the connection string names no host"
	case login.User == "":
		return "the connection string names no user"
	case login.Password == "" && token:
		return "the gateway takes a password in the connection string, and no authToken"
	case login.Password == "":
		return "the connection string has no password"
	case login.Database == "":
		return "the connection string names no database"
	}
	return ""
}

func badConnectionString(message string) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Code: codeProtocolViolation, Message: message,
		Hint: "It has the form postgresql://USER:PASSWORD@HOST/DATABASE, with what is special in a URL percent-encoded.",
	}
}
