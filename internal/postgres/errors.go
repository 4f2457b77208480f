// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package postgres knows PostgreSQL servers from the outside: how a Secret names
// one, what a look at it shows, and when two are the same. It holds no connection
// open, writes nothing to a server, and does not know Kubernetes.
package postgres

// Reason is why a server can not be used, in the word that stands in conditions.
type Reason string

// The reasons. All but Full are reasons of the condition UpstreamObserved.
const (
	// KeyMissing means that the Secret holds no URL and no host.
	KeyMissing Reason = "KeyMissing"
	// InvalidURL means that the Secret's URL, or a part of one, can not be read.
	InvalidURL Reason = "InvalidURL"
	// HostUnknown means that the host's name leads nowhere.
	HostUnknown Reason = "HostUnknown"
	// Unreachable means that no PostgreSQL answers at the address, or not yet.
	Unreachable Reason = "Unreachable"
	// AuthenticationFailed means that the server refused the user or the password.
	AuthenticationFailed Reason = "AuthenticationFailed"
	// DatabaseMissing means that the server has no such database, or it takes no connections.
	DatabaseMissing Reason = "DatabaseMissing"
	// TLSFailed means that the server refused TLS, or its certificate is not trusted.
	TLSFailed Reason = "TLSFailed"
	// Full means that the server is there and has no connection left for this role
	// (SQLSTATE 53300). What was known of it still holds.
	Full Reason = "Full"
	// RoleFull means that the role has as many connections as its CONNECTION LIMIT.
	RoleFull Reason = "RoleFull"
	// DatabaseFull means that the database has as many connections as its CONNECTION LIMIT.
	DatabaseFull Reason = "DatabaseFull"
	// AddressForbidden means that the operator may not connect to the address.
	AddressForbidden Reason = "AddressForbidden"
)

// Error says why a Secret or a server can not be used, and what to do about it.
//
// Its message is for the owner of the Secret, who may be allowed to see less of
// the network than the operator reaches. It names no address but the one the
// Secret has, and is the same whether a port is closed, filtered, or served by
// something else than PostgreSQL, so that a Secret is no port scanner. It never
// holds a password, a URL, or words of the server.
type Error struct {
	Reason  Reason
	Message string
	// Err is the cause, for errors.As; nil where a cause could quote a secret.
	Err error
}

// Error is the message alone.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
