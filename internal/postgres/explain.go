// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// explain turns what went wrong into a reason and a message for the Secret's owner.
// Reply is the first byte that the server said, 0 if it said nothing.
func explain(source Source, reply uint32, err error) *Error {
	if outer, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = outer.Unwrap() // The outer one carries the configuration, password included.
	}
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return explainRefusal(source, refusal)
	}
	if errors.Is(err, errForbidden) {
		return &Error{AddressForbidden, "the operator may not connect to the address of " + source.Host +
			": use one that --allowed-upstream-cidrs has, or ask for it to be added", err}
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return &Error{HostUnknown, "the name " + source.Host + " leads nowhere: correct the host in the Secret " +
			"(a Service in another namespace is <service>.<namespace>.svc)", err}
	}
	return explainTLS(source, reply, err)
}

// explainTLS is for a server that was reached. With TLS 1.3 it looks at a client
// certificate when the handshake is over for us, and then ends the connection.
func explainTLS(source Source, reply uint32, err error) *Error {
	if errors.Is(err, errHandshake) {
		return explainHandshake(source, err)
	}
	if refusesCertificate(err) && source.Certificate != "" {
		return &Error{TLSFailed, "the server does not accept the client certificate: use one that the authority in its ssl_ca_file has signed", err}
	}
	if reply == refusesTLS && !plainIsFine(source.TLSMode) && source.TLSMode != tlsDisable {
		return &Error{TLSFailed, "PostgreSQL at " + source.Endpoint() + " does not speak TLS, and sslmode " + source.TLSMode +
			" asks for it: turn ssl on there, or add sslmode=disable to the URL if nobody can listen on the way", err}
	}
	return &Error{Unreachable, "no PostgreSQL answers at " + source.Endpoint() +
		": check host and port in the Secret, that the server runs, and that firewalls and allow-lists let the operator in", err}
}

// refusesCertificate reports whether the server ended TLS that had come about.
func refusesCertificate(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" // As crypto/tls calls an alert.
}

// explainAnswer is for a server that let us in and then did not tell its settings.
func explainAnswer(source Source, err error) *Error {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	_, forbidden := forbiddenThere(err)
	switch {
	case forbidden:
		return &Error{Unreachable, "the server at " + source.Endpoint() + " answered the question for its settings with SQLSTATE " +
			sqlState(refusal.Code) + ": it is no PostgreSQL, or too old a one (13 is the oldest that is known to work)", refusal}
	case ok:
		return explainRefusal(source, refusal)
	case errors.Is(err, errNoFacts):
		return &Error{Unreachable, "the server at " + source.Endpoint() + " did not answer the question for its settings as PostgreSQL does", err}
	}
	return explain(source, 0, err)
}

// explainHandshake is only reached after the server said that it speaks TLS.
func explainHandshake(source Source, err error) *Error {
	what := "TLS with the server did not come about: check its version and ciphers, and whether it asks for a client certificate"
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		what = "the server's certificate is expired or not valid: renew it"
		if _, ok := errors.AsType[x509.HostnameError](untrusted.Err); ok {
			what = "the server's certificate is for another name than " + source.Host +
				": use a host that it names, or sslmode=verify-ca, which checks who signed it alone"
		}
		if _, ok := errors.AsType[x509.UnknownAuthorityError](untrusted.Err); ok {
			what = "the server's certificate is signed by an authority that is not trusted: " +
				"name that authority, up to its root, in spec.upstream.tls.caSecretRef, or use sslmode=require, which encrypts without checking who answers"
		}
	}
	return &Error{TLSFailed, what, err}
}

// explainRefusal reads the server's SQLSTATE. Its words stay out: they name
// addresses, and they come in any language.
// Source: PostgreSQL docs, appendix A "PostgreSQL Error Codes".
func explainRefusal(source Source, refusal *pgconn.PgError) *Error {
	switch refusal.Code {
	case "28P01": // invalid_password
		return &Error{AuthenticationFailed, "the server refused the user or the password: correct them in the Secret", refusal}
	case "28000": // invalid_authorization_specification
		return &Error{AuthenticationFailed, "the server does not let this user in from here: check the user, whether it may log in, " +
			"the server's pg_hba.conf or allow-list, whether it insists on TLS (sslmode=require), and whether on a client certificate " +
			"(spec.upstream.tls.clientCertSecretRef)", refusal}
	case "08P01": // protocol_violation, which is what PgBouncer calls every login it refuses
		return &Error{AuthenticationFailed, "a pooler at " + source.Endpoint() + " refused the login: correct user, password and database in the Secret, " +
			"and name the server itself if you can", refusal}
	case "42501": // insufficient_privilege
		return &Error{AuthenticationFailed, "the user may not connect to the database: GRANT CONNECT on it", refusal}
	case "3D000": // invalid_catalog_name
		return &Error{DatabaseMissing, "the server has no database " + source.Database + ": create it, or correct its name in the Secret", refusal}
	case "55000": // object_not_in_prerequisite_state
		return &Error{DatabaseMissing, "the database " + source.Database + " takes no connections: use another, or allow them (ALTER DATABASE)", refusal}
	case "53300": // too_many_connections
		return explainFull(source, refusal)
	}
	if strings.HasPrefix(refusal.Code, "57P") { // starting up, shutting down
		return &Error{Unreachable, "PostgreSQL at " + source.Endpoint() + " takes no connections just now: it is starting, stopping or recovering", refusal}
	}
	return &Error{Unreachable, "PostgreSQL at " + source.Endpoint() + " refused the connection with SQLSTATE " + sqlState(refusal.Code), refusal}
}

// explainFull tells the server's own limit from those of a role and a database. They
// share a SQLSTATE; the function that refuses, unlike its words, is the same in every
// language. Source: PostgreSQL docs, "Error and Notice Message Fields";
// InitializeSessionUserId in miscinit.c, CheckMyDatabase in postinit.c.
func explainFull(source Source, refusal *pgconn.PgError) *Error {
	switch refusal.Routine {
	case "InitializeSessionUserId":
		return &Error{RoleFull, "the role " + source.User + " has as many connections as its CONNECTION LIMIT lets it have: " +
			"raise that (ALTER ROLE ... CONNECTION LIMIT), or give the pool a role of its own", refusal}
	case "CheckMyDatabase":
		return &Error{DatabaseFull, "the database " + source.Database + " has as many connections as its CONNECTION LIMIT lets it have: " +
			"raise that (ALTER DATABASE ... CONNECTION LIMIT), or close connections that are not a pool's", refusal}
	}
	return &Error{Full, "the server has no free connection for this user", refusal}
}

// sqlState is the code if it is one: five digits or capital letters.
func sqlState(code string) string {
	isOther := func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }
	if len(code) != 5 || strings.ContainsFunc(code, isOther) {
		return "(unreadable)"
	}
	return code
}
