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
	// Users are the credentials that clients may use. They are worth nothing at the server.
	Users []User `json:"users"`
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

// QueryWait is how long a client waits for a server connection
// (query_wait_timeout); 0 is without end.
func (c Config) QueryWait() time.Duration { return c.seconds("query_wait_timeout") }

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
	// User is the role that every server connection uses, whoever the client is.
	User     string `json:"user"`
	Password string `json:"password"`
	// TLSMode is server_tls_sslmode: disable, allow, prefer, require, verify-ca or verify-full.
	TLSMode string `json:"tlsMode"`
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
	Name     string `json:"name"`
	Password string `json:"password"`
}
