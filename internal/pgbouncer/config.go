// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package pgbouncer knows PgBouncer: which settings a pool may change, how its
// files are written, and how its console is spoken to. It does not know
// Kubernetes, and it starts no process.
package pgbouncer

import (
	"cmp"
	"strconv"
	"time"
)

// PoolMode is PgBouncer's pool_mode.
type PoolMode string

// The values of pool_mode.
const (
	ModeSession     PoolMode = "session"
	ModeTransaction PoolMode = "transaction"
	ModeStatement   PoolMode = "statement"
)

// Config is what a pool's poolers run, but for the number of connections, which
// is the grant's. It travels as JSON from the manager to the pods, possibly
// between two releases, so fields are only ever added.
type Config struct {
	// Server is the PostgreSQL server behind every database.
	Server Server `json:"server"`
	// Databases are the databases clients may name; never empty, never "*":
	// max_db_connections counts for each entry by itself.
	Databases []Database `json:"databases"`
	// Mode is pool_mode.
	Mode PoolMode `json:"mode"`
	// Users are the credentials that clients may use.
	Users []User `json:"users"`
	// Lookup finds further users at the server; empty finds none. With it every client
	// is its own role at the server, and Server has no user.
	Lookup Lookup `json:"lookup,omitzero"`
	// ClientTLS is how clients reach PgBouncer.
	ClientTLS ClientTLS `json:"clientTLS,omitzero"`
	// Paused holds every client at its next transaction (PAUSE).
	Paused bool `json:"paused,omitempty"`
	// MaxClientConnections is max_client_conn, for each pooler.
	MaxClientConnections int32 `json:"maxClientConnections"`
	// ClientIdleTimeoutSeconds is client_idle_timeout, in seconds; 0 is never.
	ClientIdleTimeoutSeconds int32 `json:"clientIdleTimeoutSeconds,omitempty"`
	// ConnectQuery runs on every new server connection before it is used
	// (connect_query). Empty where a pooler in between makes it useless.
	ConnectQuery string `json:"connectQuery,omitempty"`
	// Parameters are further settings, each from the list of those allowed.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// LoginRetrySetting is how long PgBouncer waits after a failed login, in seconds.
const LoginRetrySetting = "server_login_retry"

// LoginRetry is the LoginRetrySetting that the files hold.
func (c Config) LoginRetry() time.Duration { return c.seconds(LoginRetrySetting) }

// LifetimeSetting is the age, in seconds, from which PgBouncer closes server
// connections that are idle or released.
const LifetimeSetting = "server_lifetime"

// ServerLifetime is the LifetimeSetting that the files hold.
func (c Config) ServerLifetime() time.Duration { return c.seconds(LifetimeSetting) }

// QueryWait is how long a client waits for a server connection
// (query_wait_timeout); 0 is without end.
func (c Config) QueryWait() time.Duration { return c.seconds("query_wait_timeout") }

// AddressKept is how long PgBouncer believes a name's address (dns_max_ttl).
func (c Config) AddressKept() time.Duration { return c.seconds("dns_max_ttl") }

func (c Config) seconds(setting string) time.Duration {
	seconds, err := strconv.ParseFloat(cmp.Or(c.Parameters[setting], constants[setting]), 64)
	if err != nil {
		return 0 // Validate lets none through.
	}
	return time.Duration(seconds * float64(time.Second))
}

// Server is the PostgreSQL server as PgBouncer reaches it.
type Server struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// User is the role that every server connection uses, whoever the client is. Empty
	// with Config.Lookup alone.
	User     string `json:"user"`
	Password string `json:"password"`
	// TLSMode is server_tls_sslmode: disable, allow, prefer, require, verify-ca or verify-full.
	TLSMode string `json:"tlsMode"`
	// Incarnation tells apart the servers that Host leads to, one after another. Where it
	// changes, poolers replace their server connections, as clients release them. It is
	// the only field that is not PgBouncer's; empty is not known.
	Incarnation string `json:"incarnation,omitempty"`
	// CA holds the authorities that the server's certificate is verified with, in PEM;
	// empty is those that public sites are trusted by (server_tls_ca_file).
	CA string `json:"ca,omitempty"`
	// Certificate and Key are shown to the server, in PEM (server_tls_cert_file).
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
}

// ClientTLS is how clients reach PgBouncer.
type ClientTLS struct {
	// Mode is client_tls_sslmode; empty is disable.
	Mode string `json:"mode,omitempty"`
	// Certificate and Key are shown to clients, in PEM; the chain follows the leaf.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// CA holds the authorities that a client's certificate must come from, in PEM, in
	// the modes verify-ca and verify-full.
	CA string `json:"ca,omitempty"`
}

// Lookup is how PgBouncer finds users that are not in its auth_file.
type Lookup struct {
	// User and Password log in at the server to look others up (auth_user).
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Query returns a user's name and password hash for $1 (auth_query).
	Query string `json:"query,omitempty"`
}

// Database is one entry of PgBouncer's [databases].
type Database struct {
	// Name is what clients ask for.
	Name string `json:"name"`
	// Database is its name at the server (dbname).
	Database string `json:"database"`
}

// User is one entry of PgBouncer's auth_file.
type User struct {
	Name string `json:"name"`
	// Password in plain text, or its SCRAM-SHA-256 secret as PostgreSQL stores it.
	Password string `json:"password"`
}
